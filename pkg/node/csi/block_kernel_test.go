//go:build kernel

package csi

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

func readOnly(r *csi.NodePublishVolumeRequest) { r.Readonly = true }

// readBlock and writeBlock use a device past the page cache of whoever had it open before.
func readBlock(t *testing.T, device string, size int64) []byte {
	t.Helper()
	file, err := os.Open(device)
	must(t, err)
	content := make([]byte, size)
	_, err = file.ReadAt(content, 0)
	must(t, err)
	must(t, file.Close())
	return content
}

func writeBlock(device string, content []byte) error {
	file, err := os.OpenFile(device, os.O_WRONLY|unix.O_SYNC, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(content, 0)
	return errors.Join(err, file.Close())
}

// TestBlockVolumeToPodAndBack takes a block volume to two pods and back, each call twice, over a restart of the process at each
// step. A fresh one reads zeros although another's data was where its blocks are.
func TestBlockVolumeToPodAndBack(t *testing.T) {
	f := newFixtureOn(t, 256*mib)
	size := 48 * mib
	secret := bytes.Repeat([]byte("secret"), int(size)/6)
	for _, name := range []string{"pvc-before-1", "pvc-before-2"} {
		before := f.volumeOf(size, name, "")
		must(t, writeBlock(before.device(), secret))
		before.deactivate()
		must(t, f.pool().DeleteVolume(f.context(), name))
	}
	v := f.volumeOf(size, "pvc-1", "")
	twice := func(call func() error) {
		t.Helper()
		must(t, call())
		must(t, call())
		v.restart()
		must(t, call())
	}
	twice(func() error { return v.stage() })
	if found, _, _ := mountOptions(t, v.staging); found != 0 || !v.active() {
		t.Errorf("%d mounts on the staging path, active %t", found, v.active())
	}
	twice(func() error { return v.publish("pod-1") })
	twice(func() error { return v.publish("pod-2") })
	// Block by block, so that each is new when it is written: what of it is not written must not show what was there.
	for _, pod := range []string{"pod-1", "pod-2"} {
		if content := readBlock(t, v.target(pod), size); !bytes.Equal(content, make([]byte, size)) {
			t.Errorf("%s: a fresh block volume holds something", pod)
		}
	}
	must(t, writeBlock(v.target("pod-1"), []byte("content")[:7:7])) // a part of a sector
	want := make([]byte, size)
	copy(want, "content")
	if content := readBlock(t, v.target("pod-2"), size); !bytes.Equal(content, want) {
		t.Errorf("the other pod does not read what was written, and zeros after it: it begins with %q", content[:16])
	}

	// Not open, and yet in use: its node would stand for the next device that gets the number.
	refused(t, v.unstage(), codes.FailedPrecondition, v.target("pod-1"), v.target("pod-2"))
	twice(func() error { return v.unpublish("pod-1") })
	holder, err := os.Open(v.device())
	must(t, err)
	twice(func() error { return v.unpublish("pod-2") })
	refused(t, v.unstage(), codes.FailedPrecondition, "in use")
	must(t, holder.Close())
	twice(v.unstage)
	v.nothingLeft()

	// And once more: what was written is there. After a boot the file is, but not the mount.
	must(t, v.stage())
	must(t, os.WriteFile(v.target("pod-1"), nil, 0o600))
	must(t, v.publish("pod-1"))
	if content := readBlock(t, v.target("pod-1"), size); !bytes.Equal(content, want) {
		t.Errorf("the volume begins with %q", content[:16])
	}
	must(t, v.unpublish("pod-1"))
	must(t, v.unstage())
	v.nothingLeft()
}

// TestReadOnlyBlock: the device itself refuses writes, and so it is read-only for all of its pods or for none.
func TestReadOnlyBlock(t *testing.T) {
	v := newFixture(t).volumeOf(64*mib, "pvc-1", "")
	must(t, v.stage())
	reader := func(r *csi.NodePublishVolumeRequest) {
		r.VolumeCapability.AccessMode.Mode = csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY
	}
	for _, asks := range []func(*csi.NodePublishVolumeRequest){readOnly, reader} {
		must(t, v.publish("pod-1", asks))
		must(t, v.publish("pod-1", asks))
		must(t, v.publish("pod-2", asks))
		for _, place := range []string{v.target("pod-1"), v.target("pod-2"), v.device()} {
			if err := writeBlock(place, []byte("x")); !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
				t.Errorf("%s: a write: %v", place, err)
			}
		}
		refused(t, v.publish("pod-1"), codes.AlreadyExists, "target_path", "read-only is true")
		must(t, v.unpublish("pod-2"))
		refused(t, v.publish("pod-2"), codes.FailedPrecondition, v.target("pod-1"), "read-only in all places or in none")
		if _, err := os.Lstat(v.target("pod-2")); !os.IsNotExist(err) {
			t.Errorf("the refused place is left: %v", err)
		}
		must(t, v.unpublish("pod-1"))

		must(t, v.publish("pod-1"))
		must(t, writeBlock(v.target("pod-1"), []byte("x")))
		refused(t, v.publish("pod-2", asks), codes.FailedPrecondition, "read-only in all places or in none")
		must(t, v.unpublish("pod-1"))
	}
	must(t, v.unstage())
	v.nothingLeft()
}

// TestOnePlaceOnlyBlock: ReadWriteOncePod is held for block volumes too.
func TestOnePlaceOnlyBlock(t *testing.T) {
	v := newFixture(t).volumeOf(64*mib, "pvc-1", "")
	single := func(r *csi.NodePublishVolumeRequest) {
		r.VolumeCapability.AccessMode.Mode = csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
	}
	must(t, v.stage())
	must(t, v.publish("pod-1", single))
	must(t, v.publish("pod-1", single))
	refused(t, v.publish("pod-2", single), codes.FailedPrecondition, v.target("pod-1"))
	must(t, v.unpublish("pod-1"))
	must(t, v.publish("pod-2", single))
	must(t, v.unpublish("pod-2"))
	must(t, v.unstage())
	v.nothingLeft()
}

// TestBlockStats: the size of the device, and nothing of what is used.
func TestBlockStats(t *testing.T) {
	f := newFixture(t)
	v, other := f.volumeOf(64*mib, "pvc-1", ""), f.volumeOf(64*mib, "pvc-2", "")
	for _, volume := range []*volume{v, other} {
		must(t, volume.stage())
		must(t, volume.publish("pod-1"))
	}
	read := func(path string) (*csi.NodeGetVolumeStatsResponse, error) {
		return v.NodeGetVolumeStats(v.context(), &csi.NodeGetVolumeStatsRequest{VolumeId: v.id, VolumePath: path})
	}
	response, err := read(v.target("pod-1"))
	must(t, err)
	if usage := response.GetUsage(); len(usage) != 1 || usage[0].Unit != csi.VolumeUsage_BYTES || usage[0].Total != 64*mib || usage[0].Used != 0 || usage[0].Available != 0 {
		t.Errorf("usage is %v", usage)
	}
	_, err = read(v.target("pod-2"))
	refused(t, err, codes.NotFound, "volume_path")
	_, err = read(other.target("pod-1"))
	refused(t, err, codes.NotFound, "volume_path")
	_, err = read(filepath.Dir(v.target("pod-1")))
	refused(t, err, codes.InvalidArgument, "volume_path", "directory")
	for _, volume := range []*volume{v, other} {
		must(t, volume.unpublish("pod-1"))
		must(t, volume.unstage())
		volume.nothingLeft()
	}
}

// TestWrongKindOfVolume: a volume is what it was made as, and something in the way of a device is neither used nor removed.
func TestWrongKindOfVolume(t *testing.T) {
	f := newFixture(t)
	block, mounted := f.volumeOf(64*mib, "pvc-1", ""), f.volume("pvc-2", filesystem.Ext4)
	block.fsType, mounted.fsType = "ext4", ""
	refused(t, block.stage(), codes.InvalidArgument, "volume_capability.mount", "allowed is block")
	refused(t, block.publish("pod-1"), codes.InvalidArgument, "volume_capability.mount")
	refused(t, mounted.stage(), codes.InvalidArgument, "volume_capability.block", "allowed is mount")
	refused(t, mounted.publish("pod-1"), codes.InvalidArgument, "volume_capability.block")
	mounted.nothingLeft()
	block.fsType, mounted.fsType = "", "ext4"
	block.nothingLeft()

	must(t, block.stage())
	must(t, os.MkdirAll(block.target("pod-1"), 0o750))
	refused(t, block.publish("pod-1"), codes.InvalidArgument, "target_path", "directory")
	must(t, os.Remove(block.target("pod-1")))
	must(t, os.WriteFile(block.target("pod-1"), []byte("content"), 0o600))
	must(t, block.publish("pod-1"))
	if err := block.unpublish("pod-1"); err == nil {
		t.Error("a file with content was removed")
	}
	must(t, os.Remove(block.target("pod-1")))
	must(t, block.unstage())
	block.nothingLeft()
}
