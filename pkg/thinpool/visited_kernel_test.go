//go:build kernel

package thinpool_test

import (
	"flag"
	"slices"
	"sync"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// visited are the failpoints at which a child was killed, in whatever test.
var visited = struct {
	mutex sync.Mutex
	names map[string]bool
}{names: map[string]bool{}}

func visit(name string) {
	visited.mutex.Lock()
	defer visited.mutex.Unlock()
	visited.names[name] = true
}

// unvisited are the failpoints that no test has killed a process at, though all tests ran: a new one needs a test that does.
func unvisited() []string {
	if run := flag.Lookup("test.run"); run != nil && run.Value.String() != "" {
		return nil // not all tests
	}
	visited.mutex.Lock()
	defer visited.mutex.Unlock()
	return slices.DeleteFunc(thinpool.Failpoints(), func(name string) bool { return visited.names[name] })
}
