//go:build kernel

package csi

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// TestDiscardOption: a volume that is mounted with the option discard gives back to its pool what is deleted in it; without it nothing
// comes back by itself.
func TestDiscardOption(t *testing.T) {
	const size = 32 * mib
	f := newFixture(t)
	for _, fsType := range filesystem.Types {
		for _, options := range [][]string{{"discard"}, nil} {
			v := f.volume("pvc-"+string(fsType), fsType)
			must(t, v.stage(options...))
			mapped := func() int64 {
				t.Helper()
				all, err := f.pool().Mapped(f.context())
				must(t, err)
				return all[v.id]
			}
			sync := func() {
				t.Helper()
				root, err := os.Open(v.staging)
				must(t, err)
				must(t, unix.Syncfs(int(root.Fd())))
				must(t, root.Close())
			}
			content := make([]byte, size)
			_, _ = rand.Read(content)
			path := filepath.Join(v.staging, "file")
			must(t, os.WriteFile(path, content, 0o600))
			sync()
			full := mapped()
			must(t, os.Remove(path))
			// The file system discards when it has committed, a moment after it was told to.
			for deadline := time.Now().Add(20 * time.Second); len(options) > 0 && mapped() > full-size*3/4 && time.Now().Before(deadline); {
				sync()
				time.Sleep(20 * time.Millisecond)
			}
			sync()
			if back := full - mapped(); (back >= size*3/4) != (len(options) > 0) {
				t.Errorf("%s %q: %d bytes came back of a file of %d", fsType, options, back, size)
			}
			must(t, v.unstage())
			must(t, f.pool().DeleteVolume(f.context(), v.id))
		}
	}
}
