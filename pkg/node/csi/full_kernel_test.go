//go:build kernel

package csi

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// TestFullPoolDoesNotHang: where writers meet a pool without space, they get an error at once, and the volume can be taken
// from its pod in bounded time. (That xfs gives up before its unmount, too, is a setting: see TestFixedSettings.)
func TestFullPoolDoesNotHang(t *testing.T) {
	for _, fsType := range filesystem.Types {
		t.Run(string(fsType), func(t *testing.T) {
			f := newFixtureOn(t, gib)
			// Each fits, both together do not.
			const size = 600 * mib
			other, v := f.volumeOf(size, "pvc-other", fsType), f.volumeOf(size, "pvc-large", fsType)
			must(t, other.stage())
			must(t, other.publish("pod-1"))
			must(t, fill(filepath.Join(other.target("pod-1"), "file"), 400*mib))
			must(t, v.stage())
			must(t, v.publish("pod-1"))
			begin := time.Now()
			err := fill(filepath.Join(v.target("pod-1"), "file"), size)
			if took := time.Since(begin); took > 30*time.Second { // no_space_timeout is 60 s
				t.Errorf("a writer waited for %v", took)
			}
			if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EIO) {
				t.Errorf("writing to a full pool: %v", err)
			}
			begin = time.Now()
			must(t, v.unpublish("pod-1"))
			must(t, v.unstage())
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("taking the volume away took %v", took)
			}
			v.nothingLeft()
			must(t, other.unpublish("pod-1"))
			must(t, other.unstage())
		})
	}
}

// fill writes and syncs a file, MiB by MiB.
func fill(path string, size int64) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	block := make([]byte, mib)
	for i := range block {
		block[i] = byte(i)
	}
	for written := int64(0); written < size; written += mib {
		if _, err := file.Write(block); err != nil {
			return err
		}
		if written%(64*mib) == 0 {
			if err := file.Sync(); err != nil {
				return err
			}
		}
	}
	return file.Sync()
}
