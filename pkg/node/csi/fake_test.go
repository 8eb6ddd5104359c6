package csi

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/confinedpath"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// brokenPool answers what a test tells it, for the ways that a real pool does not go on demand. It makes no device.
type brokenPool struct {
	pools.Pool

	mu          sync.Mutex
	volumes     map[string]filesystem.Type
	activate    error // what Activate ends with
	deactivate  error // what Deactivate ends with
	activations int
	active      bool
	devices     []string // what Activate gives, one after the other; then /dev/null
}

func (p *brokenPool) Volume(name string) (thinpool.Volume, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fsType, ok := p.volumes[name]
	if !ok {
		return thinpool.Volume{}, &thinpool.Error{Op: "find", Pool: "test", Volume: name, Err: thinpool.ErrVolumeNotFound}
	}
	return thinpool.Volume{Name: name, Format: filesystem.Format{Type: fsType}}, nil
}

func (p *brokenPool) Activate(context.Context, string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.activations++
	p.active = p.activate == nil
	device := "/dev/null"
	if len(p.devices) > 0 {
		device, p.devices = p.devices[0], p.devices[1:]
	}
	return device, p.activate
}

func (p *brokenPool) Deactivate(context.Context, string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active = p.active && p.deactivate != nil
	return p.deactivate
}

// newBroken gives a service on such a pool, which holds the volume pvc-1, and kubelet's directory.
func (p *brokenPool) Status(context.Context) (thinpool.Status, error) {
	return thinpool.Status{Mode: thinpool.ModeReadWrite}, nil
}

// ActiveDevice says that no volume is active: a device of this pool is no device.
func (p *brokenPool) ActiveDevice(context.Context, string) (string, error) {
	return "", nil
}

func newBroken(t *testing.T) (*Node, *brokenPool, string) {
	t.Helper()
	kubelet := filepath.Join(t.TempDir(), "kubelet")
	if err := os.MkdirAll(filepath.Join(kubelet, "staging"), 0o750); err != nil {
		t.Fatal(err)
	}
	root, err := confinedpath.OpenRoot(kubelet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	pool := &brokenPool{volumes: map[string]filesystem.Type{"pvc-1": filesystem.Ext4}}
	set := pools.NewSet(func(context.Context, thinpool.Config) (pools.Pool, error) { return pool, nil })
	if _, _, err := set.Open(t.Context(), thinpool.Config{Name: "test"}); err != nil {
		t.Fatal(err)
	}
	node, err := New(t.Context(), Config{NodeName: "node-1", Pools: set, Kubelet: root})
	if err != nil {
		t.Fatal(err)
	}
	return node, pool, kubelet
}

// listing gives all paths below a directory.
func listing(t *testing.T, directory string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(directory, func(path string, _ os.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return paths
}
