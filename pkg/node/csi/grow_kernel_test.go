//go:build kernel

package csi

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// TestStageGrows: a volume that was grown, and a larger copy of it, have their size once they are staged, also where the pod
// may only read, and a second time nothing is to do.
func TestStageGrows(t *testing.T) {
	for _, fsType := range filesystem.Types {
		t.Run(string(fsType), func(t *testing.T) {
			v := newFixture(t).volume("pvc-1", fsType)
			must(t, v.stage())
			must(t, os.WriteFile(filepath.Join(v.staging, "file"), []byte("content"), 0o600))
			must(t, v.unstage())
			size := totalBytes(t, v)
			if _, err := v.pool().GrowVolume(v.context(), v.id, 2*512*mib); err != nil {
				t.Fatal(err)
			}
			if grown := totalBytes(t, v); grown < 2*size-64*mib || grown > 2*512*mib {
				t.Errorf("%d bytes, grown from %d to %d", 2*512*mib, size, grown)
			}
			if again := totalBytes(t, v, "ro"); again < 2*size-64*mib {
				t.Errorf("%d bytes in the end", again)
			}
			if _, err := v.pool().CreateVolume(v.context(), thinpool.VolumeSpec{Name: "pvc-2", Source: v.id, Size: 3 * 512 * mib}); err != nil {
				t.Fatal(err)
			}
			clone := &volume{fixture: v.fixture, id: "pvc-2", fsType: v.fsType, staging: v.staging}
			if grown := totalBytes(t, clone, "ro"); grown < 3*size-96*mib || grown > 3*512*mib {
				t.Errorf("the clone has %d bytes", grown)
			}
			v.nothingLeft()
		})
	}
}

// totalBytes stages a volume, looks at its size and its file, and unstages it.
func totalBytes(t *testing.T, v *volume, options ...string) int64 {
	t.Helper()
	must(t, v.stage(options...))
	must(t, v.stage(options...))
	var fs unix.Statfs_t
	must(t, unix.Statfs(v.staging, &fs))
	if content, err := os.ReadFile(filepath.Join(v.staging, "file")); string(content) != "content" {
		t.Errorf("the file holds %q, %v", content, err)
	}
	must(t, v.unstage())
	return int64(fs.Blocks) * fs.Bsize
}
