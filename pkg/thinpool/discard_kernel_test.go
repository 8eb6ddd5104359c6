//go:build kernel

package thinpool_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// allocated is what a file takes of its file system, in bytes.
func allocated(t testing.TB, path string) int64 { return stat(t, path).Blocks * 512 }

// TestDiscardOnDelete: the file below a pool shrinks when a volume is deleted if discards are passed down, and does not if
// they are not. A snapshot's neighbour of the same base keeps its data in both cases.
func TestDiscardOnDelete(t *testing.T) {
	for name, passdown := range map[string]bool{"passed down": true, "kept": false} {
		t.Run(name, func(t *testing.T) {
			kerneltest.CheckClean(t)
			ctx, dm, config := testContext(t), client(t), sources()["loopback"](t)
			config.DiscardPassdown = passdown
			p := open(t, dm, config)
			file := config.Source.Loopback.Path
			create(t, p, ext4("neighbour", 256*mib))
			create(t, p, ext4("v", 256*mib))
			mounted(t, activate(t, p, "neighbour"), "ext4", func(directory string) { writeFile(t, filepath.Join(directory, "file"), "kept") })
			deactivate(t, p, "neighbour")
			const written = 100 * mib
			mounted(t, activate(t, p, "v"), "ext4", func(directory string) { writeRandom(t, filepath.Join(directory, "file"), written) })
			full := allocated(t, file)
			if err := p.DeleteVolume(ctx, "v"); err != nil {
				t.Fatal(err)
			}
			drained(t, p)
			shrunk := full - allocated(t, file)
			if passdown && shrunk < written {
				t.Errorf("the file below the pool shrank by %d bytes, %d had been written to the volume", shrunk, written)
			}
			if !passdown && shrunk > 0 {
				t.Errorf("the file below the pool shrank by %d bytes", shrunk)
			}
			mounted(t, activate(t, p, "neighbour"), "ext4", func(directory string) { expectFile(t, filepath.Join(directory, "file"), "kept") })
			deactivate(t, p, "neighbour")
			create(t, p, ext4("later", 256*mib))
			mounted(t, activate(t, p, "later"), "ext4", func(string) {})
			deactivate(t, p, "later")
			checkIDs(t, dm, p)
		})
	}
}

// writeRandom writes size random bytes and flushes them.
func writeRandom(t testing.TB, path string, size int64) {
	t.Helper()
	content := make([]byte, size)
	_, _ = rand.Read(content)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	unix.Sync()
}
