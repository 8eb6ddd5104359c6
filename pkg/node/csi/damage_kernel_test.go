//go:build kernel

package csi

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// edit changes the volume's device while nobody uses it.
func (v *volume) edit(change func(device string)) {
	v.t.Helper()
	change(v.device())
	v.deactivate()
}

func writeAt(t *testing.T, device string, data []byte, offset int64) {
	t.Helper()
	file, err := os.OpenFile(device, os.O_WRONLY|os.O_SYNC, 0)
	must(t, err)
	_, err = file.WriteAt(data, offset)
	must(t, err)
	must(t, file.Close())
}

// TestBlankIsRefused: a volume without its file system is not formatted, whatever kubelet asks.
func TestBlankIsRefused(t *testing.T) {
	f := newFixture(t)
	for _, fsType := range filesystem.Types {
		v := f.volume("pvc-"+string(fsType), fsType)
		v.edit(func(device string) { writeAt(t, device, make([]byte, 1<<20), 0) })
		refused(t, v.stage(), codes.Internal, v.fsType, "nothing was changed")
		v.nothingLeft()
		v.edit(func(device string) {
			content := make([]byte, 1<<20)
			file, err := os.Open(device)
			must(t, err)
			_, err = file.ReadAt(content, 0)
			must(t, err)
			must(t, file.Close())
			if !bytes.Equal(content, make([]byte, 1<<20)) {
				t.Error("a blank volume was written to")
			}
		})
	}
}

// TestOtherFileSystemIsRefused: what is on the volume must be what it was made with.
func TestOtherFileSystemIsRefused(t *testing.T) {
	v := newFixture(t).volume("pvc-1", filesystem.XFS)
	v.edit(func(device string) {
		output, err := exec.Command("mkfs.ext4", "-F", "-q", "--", device).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, output)
		}
	})
	refused(t, v.stage(), codes.Internal, "xfs", "ext4", "nothing was changed")
	v.nothingLeft()
}

// TestMarkedErrorIsRepaired: ext4's mark of an error makes e2fsck run, once.
func TestMarkedErrorIsRepaired(t *testing.T) {
	v := newFixture(t).volume("pvc-1", filesystem.Ext4)
	v.edit(func(device string) {
		debugfs(t, device, "set_super_value state 3")
		if superblock, err := readSuperblock(device); err != nil || !superblock.Errors {
			t.Fatalf("the mark is not set: %+v, %v", superblock, err)
		}
	})
	must(t, v.stage())
	must(t, v.unstage())
	v.edit(func(device string) {
		if superblock, err := readSuperblock(device); err != nil || superblock.Errors {
			t.Errorf("the mark is still set: %+v, %v", superblock, err)
		}
	})
	v.nothingLeft()
}

// TestDamageThatTheKernelFinds: what mount refuses as damaged goes through e2fsck -p; what that does not repair is refused
// with its words; xfs is never touched.
func TestDamageThatTheKernelFinds(t *testing.T) {
	f := newFixture(t)
	t.Run("ext4 repaired", func(t *testing.T) {
		v := f.volume("pvc-repaired", filesystem.Ext4)
		v.edit(func(device string) {
			debugfs(t, device, "set_block_group 0 checksum 0x1234")
			if superblock, err := readSuperblock(device); err != nil || superblock.Errors {
				t.Fatalf("it carries the mark of an error, so that mount is not what finds it: %v", err)
			}
		})
		must(t, v.stage())
		must(t, v.unstage())
		v.nothingLeft()
	})
	t.Run("ext4 beyond repair", func(t *testing.T) {
		v := f.volume("pvc-beyond", filesystem.Ext4)
		v.edit(func(device string) { debugfs(t, device, "set_inode_field <2> mode 0", "set_super_value state 3") })
		refused(t, v.stage(), codes.Internal, "e2fsck", "RUN fsck MANUALLY")
		v.nothingLeft()
	})
	t.Run("xfs refused", func(t *testing.T) {
		v := f.volume("pvc-refused", filesystem.XFS)
		// The superblock stays recognisable, its checksum (at byte 224 of struct xfs_dsb) is wrong.
		v.edit(func(device string) { writeAt(t, device, []byte{1, 2, 3, 4}, 224) })
		refused(t, v.stage(), codes.Internal, "mount xfs")
		v.nothingLeft()
	})
}

// debugfs changes an ext4 as its tool for that does.
func debugfs(t *testing.T, device string, requests ...string) {
	t.Helper()
	for _, request := range requests {
		output, err := exec.Command("debugfs", "-w", "-R", request, device).CombinedOutput()
		if err != nil {
			t.Fatalf("debugfs %s: %v: %s", request, err, output)
		}
	}
}
