//go:build kernel

package csi

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// TestVolumeToPodAndBack takes a volume to two pods and back, each call twice, over a restart of the process at each step.
func TestVolumeToPodAndBack(t *testing.T) {
	for _, fsType := range filesystem.Types {
		t.Run(string(fsType), func(t *testing.T) {
			v := newFixture(t).volume("pvc-1", fsType)
			twice := func(call func() error) {
				t.Helper()
				must(t, call())
				must(t, call())
				v.restart()
				must(t, call())
			}
			twice(func() error { return v.stage("noatime") })
			if found, options, _ := mountOptions(t, v.staging); found != 1 || !strings.Contains(options, "noatime") {
				t.Errorf("%d mounts on the staging path, options %s", found, options)
			}
			twice(func() error { return v.publish("pod-1") })
			twice(func() error {
				return v.publish("pod-2", func(r *csi.NodePublishVolumeRequest) { r.Readonly = true })
			})
			for _, pod := range []string{"pod-1", "pod-2"} {
				if found, _, _ := mountOptions(t, v.target(pod)); found != 1 {
					t.Errorf("%d mounts on %s", found, v.target(pod))
				}
			}

			must(t, os.WriteFile(filepath.Join(v.target("pod-1"), "file"), []byte("content"), 0o600))
			if content, err := os.ReadFile(filepath.Join(v.target("pod-2"), "file")); string(content) != "content" {
				t.Errorf("the other pod reads %q, %v", content, err)
			}
			if err := os.WriteFile(filepath.Join(v.target("pod-2"), "file"), nil, 0o600); !errors.Is(err, unix.EROFS) {
				t.Errorf("writing where it is read-only: %v", err)
			}
			refused(t, v.publish("pod-2"), codes.AlreadyExists, "target_path", "read-only")

			// The file system is in use below: the staging mount goes, the device stays, the pod notices nothing.
			refused(t, v.unstage(), codes.FailedPrecondition, "in use")
			must(t, os.WriteFile(filepath.Join(v.target("pod-1"), "meanwhile"), []byte("content"), 0o600))
			if len(v.released) > 0 {
				t.Errorf("released %v while in use", v.released)
			}

			twice(func() error { return v.unpublish("pod-1") })
			twice(func() error { return v.unpublish("pod-2") })
			twice(v.unstage)
			if !slices.Contains(v.released, v.id) {
				t.Error("nobody was told that the volume is free")
			}
			v.nothingLeft()

			// And once more: what was written is there.
			must(t, v.stage())
			must(t, v.publish("pod-1"))
			for _, name := range []string{"file", "meanwhile"} {
				if content, err := os.ReadFile(filepath.Join(v.target("pod-1"), name)); string(content) != "content" {
					t.Errorf("%s holds %q, %v", name, content, err)
				}
			}
			must(t, v.unpublish("pod-1"))
			must(t, v.unstage())
			v.nothingLeft()
		})
	}
}

// TestFixedSettings: what csi-dm promises of every mount, whoever asked for what.
func TestFixedSettings(t *testing.T) {
	f := newFixture(t)
	for _, fsType := range filesystem.Types {
		v := f.volume("pvc-"+string(fsType), fsType)
		must(t, v.stage())
		_, _, options := mountOptions(t, v.staging)
		switch fsType {
		case filesystem.Ext4:
			if !strings.Contains(options, "noinit_itable") {
				t.Errorf("ext4 initialises its tables lazily: %s", options)
			}
		case filesystem.XFS:
			retries, err := os.ReadFile(filepath.Join("/sys/fs/xfs", filepath.Base(v.device()), "error/metadata/ENOSPC/max_retries"))
			if err != nil || strings.TrimSpace(string(retries)) != "7" {
				t.Errorf("xfs tries again %q times, want %d: %v", retries, xfsRetries, err)
			}
			if !strings.Contains(options, "nouuid") {
				t.Errorf("xfs looks at its UUID: %s", options)
			}
		}
		must(t, v.unstage())
	}
}

func TestStats(t *testing.T) {
	v := newFixture(t).volume("pvc-1", filesystem.Ext4)
	must(t, v.stage())
	must(t, v.publish("pod-1"))
	read := func(path string) (*csi.NodeGetVolumeStatsResponse, error) {
		return v.NodeGetVolumeStats(v.context(), &csi.NodeGetVolumeStatsRequest{VolumeId: v.id, VolumePath: path})
	}
	before, err := read(v.target("pod-1"))
	must(t, err)
	if len(before.Usage) != 2 || before.Usage[0].Unit != csi.VolumeUsage_BYTES || before.Usage[1].Unit != csi.VolumeUsage_INODES {
		t.Fatalf("usage is %v", before.Usage)
	}
	bytes, inodes := before.Usage[0], before.Usage[1]
	if bytes.Total < 400*mib || bytes.Total > 512*mib || bytes.Used+bytes.Available > bytes.Total || inodes.Used+inodes.Available != inodes.Total || inodes.Total == 0 {
		t.Errorf("usage does not add up: %v", before.Usage)
	}
	must(t, os.WriteFile(filepath.Join(v.target("pod-1"), "file"), make([]byte, 8*mib), 0o600))
	file, err := os.Open(v.target("pod-1"))
	must(t, err)
	must(t, unix.Syncfs(int(file.Fd())))
	must(t, file.Close())
	after, err := read(v.target("pod-1"))
	must(t, err)
	if grown := after.Usage[0].Used - bytes.Used; grown < 8*mib || grown > 9*mib {
		t.Errorf("8 MiB were written, usage grew by %d", grown)
	}
	if after.Usage[1].Used != inodes.Used+1 {
		t.Errorf("one file was made, inodes went from %d to %d", inodes.Used, after.Usage[1].Used)
	}

	_, err = read(v.target("pod-2"))
	refused(t, err, codes.NotFound, "volume_path")
	_, err = read(filepath.Dir(v.target("pod-1")))
	refused(t, err, codes.NotFound, "volume_path")
	other := v.volume("pvc-2", filesystem.Ext4)
	_, err = other.NodeGetVolumeStats(v.context(), &csi.NodeGetVolumeStatsRequest{VolumeId: other.id, VolumePath: v.target("pod-1")})
	refused(t, err, codes.NotFound, "volume_path")
	other.deactivate()
	must(t, v.unpublish("pod-1"))
	must(t, v.unstage())
}

// TestNoProgramRuns: the kernel counts no child process of this one from stage to unstage.
func TestNoProgramRuns(t *testing.T) {
	f := newFixture(t)
	children := func() unix.Rusage {
		var usage unix.Rusage
		must(t, unix.Getrusage(unix.RUSAGE_CHILDREN, &usage))
		return usage
	}
	for _, fsType := range filesystem.Types {
		v := f.volume("pvc-"+string(fsType), fsType) // runs mkfs, for the base
		before := children()
		must(t, v.stage())
		must(t, v.publish("pod-1"))
		_, err := v.NodeGetVolumeStats(v.context(), &csi.NodeGetVolumeStatsRequest{VolumeId: v.id, VolumePath: v.target("pod-1")})
		must(t, err)
		must(t, v.unpublish("pod-1"))
		must(t, v.unstage())
		if after := children(); after != before {
			t.Errorf("%s: a program ran: %+v became %+v", fsType, before, after)
		}
	}
	// The measure is good for something: one program that runs is noticed.
	before := children()
	v := f.volume("pvc-checked", filesystem.Ext4)
	must(t, filesystem.CheckExt4(f.context(), v.device()))
	v.deactivate()
	if after := children(); after == before {
		t.Error("a program ran and was not noticed")
	}
}

// TestOnePlaceOnly: ReadWriteOncePod is held here too.
func TestOnePlaceOnly(t *testing.T) {
	v := newFixture(t).volume("pvc-1", filesystem.XFS)
	single := func(r *csi.NodePublishVolumeRequest) {
		r.VolumeCapability.AccessMode.Mode = csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
	}
	must(t, v.stage())
	must(t, v.publish("pod-1", single))
	must(t, v.publish("pod-1", single))
	refused(t, v.publish("pod-2", single), codes.FailedPrecondition, v.target("pod-1"))
	if _, err := os.Lstat(v.target("pod-2")); !os.IsNotExist(err) {
		t.Errorf("the refused place is left: %v", err)
	}
	must(t, v.unpublish("pod-1"))
	must(t, v.publish("pod-2", single))
	must(t, v.unpublish("pod-2"))
	must(t, v.unstage())
	v.nothingLeft()
}

// TestReadOnlyMode: a reader may not write, and the mode needs no flag.
func TestReadOnlyMode(t *testing.T) {
	v := newFixture(t).volume("pvc-1", filesystem.Ext4)
	must(t, v.stage())
	must(t, v.publish("pod-1", func(r *csi.NodePublishVolumeRequest) {
		r.VolumeCapability.AccessMode.Mode = csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY
	}))
	if err := os.WriteFile(filepath.Join(v.target("pod-1"), "file"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("a reader writes: %v", err)
	}
	must(t, v.unpublish("pod-1"))
	must(t, v.unstage())
}

// TestPoolNotOpen: nothing is said of a volume whose pool nobody could look into; what is mounted can still be taken away.
func TestPoolNotOpen(t *testing.T) {
	v := newFixture(t).volume("pvc-1", filesystem.Ext4)
	must(t, v.stage())
	must(t, v.publish("pod-1"))
	must(t, v.set.Close())
	v.set.Expect(poolName, errors.New("its disk is away"))
	refused(t, v.stage(), codes.Unavailable, poolName, "its disk is away")
	refused(t, v.publish("pod-2"), codes.Unavailable, poolName)
	must(t, v.unpublish("pod-1"))
	refused(t, v.unstage(), codes.Unavailable, poolName)
	v.start()
	must(t, v.unstage())
	v.nothingLeft()
}

// TestDeletedVolume: a volume that is gone can be unstaged, and cannot be staged.
func TestDeletedVolume(t *testing.T) {
	v := newFixture(t).volume("pvc-1", filesystem.Ext4)
	must(t, v.pool().DeleteVolume(v.context(), v.id))
	refused(t, v.stage(), codes.NotFound, v.id)
	refused(t, v.publish("pod-1"), codes.NotFound, v.id)
	must(t, v.unpublish("pod-1"))
	must(t, v.unstage())
	v.nothingLeft()
}

// TestForeignMountInTheWay: what is mounted on the volume's places by somebody else is neither used nor covered.
func TestForeignMountInTheWay(t *testing.T) {
	f := newFixture(t)
	v, other := f.volume("pvc-1", filesystem.Ext4), f.volume("pvc-2", filesystem.Ext4)
	other.staging = v.staging
	must(t, other.stage())
	refused(t, v.stage(), codes.FailedPrecondition, "staging_target_path")
	if v.active() {
		t.Error("the device of the volume that was refused is left")
	}
	refused(t, v.publish("pod-1"), codes.FailedPrecondition, "staging_target_path")
	v.deactivate()
	must(t, other.unstage())

	must(t, v.stage())
	must(t, os.Mkdir(v.target("pod-1"), 0o750))
	must(t, unix.Mount("tmpfs", v.target("pod-1"), "tmpfs", 0, ""))
	refused(t, v.publish("pod-1"), codes.FailedPrecondition, "target_path")
	must(t, v.unpublish("pod-1"))
	must(t, v.unstage())
	v.nothingLeft()
}
