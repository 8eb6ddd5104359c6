//go:build kernel

package thinpool_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestFileSystemOverhead prints what an empty volume costs, which docs/limits.md quotes: the pool's space that its base
// takes once, what the volume takes of its own when it was mounted and unmounted, and what the file system keeps for itself
// of the size that was asked for.
func TestFileSystemOverhead(t *testing.T) {
	kerneltest.CheckClean(t)
	const (
		mostOwn  = 16 * mib // that an empty volume may take of the pool, its base apart
		mostBase = 80 * mib // xfs's log of 64 MiB is the largest part
	)
	// Sparse: what is not written takes no memory.
	p := open(t, client(t), configOn(kerneltest.Disk(t, 400*gib)))
	ctx := testContext(t)
	t.Logf("%-5s %8s %14s %16s %13s", "type", "size", "base in pool", "volume in pool", "kept of size")
	for _, fsType := range filesystem.Types {
		for _, size := range []int64{gib, 10 * gib, 100 * gib} {
			before := get(p.Status(ctx))(t)
			spec := thinpool.VolumeSpec{Name: fmt.Sprintf("%s-%d", fsType, size/gib), Size: size, Format: filesystem.Format{Type: fsType}}
			create(t, p, spec)
			made := get(p.Status(ctx))(t)
			base := made.BaseBytes - before.BaseBytes
			var kept int64
			mounted(t, activate(t, p, spec.Name), fsType, func(directory string) {
				root := get(os.Open(directory))(t)
				kept = size - get(filesystem.ReadUsage(root))(t).TotalBytes
				if err := root.Close(); err != nil {
					t.Error(err)
				}
			})
			own := get(p.Status(ctx))(t).Data.Used - before.Data.Used - base
			deactivate(t, p, spec.Name)
			t.Logf("%-5s %4d GiB %10.1f MiB %12.1f MiB %9.1f MiB", fsType, size/gib, float64(base)/float64(mib), float64(own)/float64(mib), float64(kept)/float64(mib))
			if base <= 0 || base > mostBase || own < 0 || own > mostOwn {
				t.Errorf("%s of %d bytes: the base takes %d, want at most %d; the volume %d, want at most %d", fsType, size, base, mostBase, own, mostOwn)
			}
			if kept < 0 || kept > size/10 {
				t.Errorf("%s of %d bytes keeps %d for itself", fsType, size, kept)
			}
			if err := p.DeleteVolume(ctx, spec.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
}
