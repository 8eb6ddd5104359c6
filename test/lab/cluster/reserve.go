package cluster

import (
	"fmt"
	"regexp"

	"github.com/csi-dm/csi-dm/test/lab/control"
)

// maximumNodes is what the names node-a to node-z and the lab's memory allow.
const maximumNodes = 26

var nodeName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,18}[a-z0-9])?$`)

// reserve checks the options, fills in the defaults, and takes the name and an index for the node.
func (s *supervisor) reserve(options control.NodeOptions) (int, control.NodeOptions, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	options, err := complete(options, func(name string) bool { _, taken := s.nodes[name]; return taken })
	if err != nil {
		return 0, options, err
	}
	if s.taken == maximumNodes {
		return 0, options, fmt.Errorf("a lab has at most %d nodes in its life", maximumNodes)
	}
	index := s.taken
	s.taken++
	s.nodes[options.Name] = nil
	return index, options, nil
}

// complete checks the options and fills in the defaults.
func complete(options control.NodeOptions, taken func(string) bool) (control.NodeOptions, error) {
	for letter := 'a'; letter <= 'z' && options.Name == ""; letter++ {
		if name := "node-" + string(letter); !taken(name) {
			options.Name = name
		}
	}
	if options.PoolDiskBytes == 0 {
		options.PoolDiskBytes = control.DefaultPoolDisk
	}
	if options.MemoryBytes == 0 {
		options.MemoryBytes = control.DefaultMemory
	}
	switch {
	case !nodeName.MatchString(options.Name):
		return options, fmt.Errorf("name %q: want a letter followed by letters, digits and dashes, 20 characters at most", options.Name)
	case taken(options.Name):
		return options, fmt.Errorf("name %q: there is a node of that name", options.Name)
	case options.PoolDiskBytes < control.MinimumPoolDisk || options.PoolDiskBytes%512 != 0:
		return options, fmt.Errorf("poolDiskBytes %d: want a multiple of 512, %d at least", options.PoolDiskBytes, control.MinimumPoolDisk)
	case options.MemoryBytes < control.MinimumMemory:
		return options, fmt.Errorf("memoryBytes %d: want %d at least", options.MemoryBytes, control.MinimumMemory)
	}
	return options, nil
}
