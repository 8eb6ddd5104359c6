package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/csi-dm/csi-dm/test/lab/node"
)

// imageStore remembers which archives belong into every node. It may be used from any goroutine.
type imageStore struct {
	folder string

	mutex    sync.Mutex
	archives []string
	copies   int
}

func newImageStore(folder string, archives []string) *imageStore {
	return &imageStore{folder: folder, archives: append([]string(nil), archives...)}
}

// add keeps a copy of the archive for nodes to come and returns it.
func (s *imageStore) add(archive string) (string, error) {
	if err := os.MkdirAll(s.folder, 0o755); err != nil {
		return "", err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.copies++
	// A new name each time: a node may still have the pages of an earlier one in its cache.
	kept := filepath.Join(s.folder, fmt.Sprintf("%d-%s", s.copies, filepath.Base(archive)))
	if err := copyFile(kept, archive); err != nil {
		return "", err
	}
	s.archives = append(s.archives, kept)
	return kept, nil
}

func (s *imageStore) all() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]string(nil), s.archives...)
}

func copyFile(target, source string) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(target)
	if err != nil {
		return err
	}
	if _, err := to.ReadFrom(from); err != nil {
		_ = to.Close()
		return err
	}
	return to.Close()
}

// load imports those of the archives into the node's containerd that were not imported before, and makes them durable: containerd does not
// flush what it unpacks, and after a power cut an image it knows would have empty files.
func (n *guestNode) load(ctx context.Context, archives []string) error {
	imported := false
	for _, archive := range archives {
		if n.has(archive) {
			continue
		}
		// On the node, so that no image crosses the network.
		if err := n.agent.run(ctx, "ctr", "--namespace", "k8s.io", "images", "import", "--local", node.HostPath(archive)); err != nil {
			return fmt.Errorf("load %s into %s: %w", archive, n.options.Name, err)
		}
		imported = true
	}
	if !imported {
		return nil
	}
	if err := n.agent.run(ctx, "sync", "--file-system", "/var/lib/containerd"); err != nil {
		return fmt.Errorf("%s: %w", n.options.Name, err)
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for _, archive := range archives {
		n.images[archive] = true
	}
	return nil
}

func (n *guestNode) has(archive string) bool {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return n.images[archive]
}
