//go:build kernel

package csi

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// health asks as kubelet does for a volume that is published for pod-1.
func (v *volume) health() []string {
	v.t.Helper()
	response, err := v.NodeGetVolumeHealth(v.context(), &csi.NodeGetVolumeHealthRequest{
		VolumeId: v.id, StagingTargetPath: v.staging, VolumePublishPath: v.target("pod-1"),
	})
	must(v.t, err)
	health := response.GetVolumeHealth()
	if health.GetVolumeId() != v.id {
		v.t.Errorf("the health is that of volume %q", health.GetVolumeId())
	}
	var entries []string
	for _, entry := range health.GetHealthStatuses() {
		v.t.Logf("%s: %s %s: %s", v.id, entry.GetStatus(), entry.GetReason(), entry.GetMessage())
		entries = append(entries, fmt.Sprint(entry.GetStatus(), " ", entry.GetReason()))
	}
	return entries
}

func (v *volume) expectHealth(entries ...string) {
	v.t.Helper()
	if got := v.health(); !slices.Equal(got, entries) {
		v.t.Errorf("the volume's health is %q, want %q", got, entries)
	}
}

// awaitHealth waits for what the kernel notes a moment later.
func (v *volume) awaitHealth(entry string) {
	v.t.Helper()
	for ctx := v.context(); !slices.Contains(v.health(), entry); {
		select {
		case <-ctx.Done():
			v.t.Fatalf("waited in vain for %s", entry)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// storageHealth asks as kubelet does for the node.
func (f *fixture) storageHealth() []string {
	f.t.Helper()
	response, err := f.NodeGetStorageHealth(f.context(), &csi.NodeGetStorageHealthRequest{})
	must(f.t, err)
	var entries []string
	for _, entry := range response.GetBackendHealth() {
		f.t.Logf("storage: %s %s: %s", entry.GetStatus(), entry.GetReason(), entry.GetMessage())
		if !strings.Contains(entry.GetMessage(), poolName) {
			f.t.Errorf("the message does not name the pool: %q", entry.GetMessage())
		}
		entries = append(entries, fmt.Sprint(entry.GetStatus(), " ", entry.GetReason()))
	}
	return entries
}

func (f *fixture) expectStorageHealth(entries ...string) {
	f.t.Helper()
	if got := f.storageHealth(); !slices.Equal(got, entries) {
		f.t.Errorf("the storage's health is %q, want %q", got, entries)
	}
}

// watch has the pool look at its devices, as the agent does, and returns a function that waits for a look that began after
// the call.
func (f *fixture) watch() (looked func()) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done, rounds := make(chan struct{}), make(chan struct{})
	pool := f.pool()
	go func() {
		defer close(done)
		_ = pool.Watch(ctx, 20*time.Millisecond, func() {
			select {
			case rounds <- struct{}{}:
			case <-ctx.Done():
			}
		})
	}()
	f.t.Cleanup(func() { cancel(); <-done })
	return func() {
		for range 3 {
			<-rounds
		}
	}
}

func (v *volume) started() *volume {
	v.t.Helper()
	must(v.t, v.stage())
	must(v.t, v.publish("pod-1"))
	return v
}

func (v *volume) stopped() {
	v.t.Helper()
	must(v.t, v.unpublish("pod-1"))
	must(v.t, v.unstage())
}

// TestHealthOfFailingDisk: a disk that gives nothing but errors, and is well again. An xfs that met it is shut down until it is
// mounted anew; what did not meet it is well at once.
func TestHealthOfFailingDisk(t *testing.T) {
	kerneltest.CheckClean(t)
	dm := openDM(t)
	disk := newFaultyDisk(t, dm, gib)
	f := newFixtureWith(t, dm, disk.device.Path())
	writer, idle := f.volume("pvc-writer", filesystem.XFS).started(), f.volume("pvc-idle", filesystem.Ext4).started()
	// All that the registry has to write is written then: it would meet the fault, too, and the pool would have to be opened anew.
	f.restart()
	looked := f.watch()
	// It has in memory then what it needs to begin another change.
	must(t, os.Mkdir(filepath.Join(writer.target("pod-1"), "before"), 0o700))
	must(t, fill(filepath.Join(writer.target("pod-1"), "before", "file"), mib))
	unix.Sync()
	looked()
	writer.expectHealth()
	idle.expectHealth()
	f.expectStorageHealth()

	disk.fail()
	if err := fill(filepath.Join(writer.target("pod-1"), "file"), mib); err == nil {
		t.Error("a write to a disk that fails was said to be durable")
	}
	looked()
	got := idle.health()
	if !slices.Contains(got, "INACCESSIBLE "+v1alpha1.ReasonDeviceUnreadable) || slices.ContainsFunc(got, func(e string) bool { return strings.Contains(e, "FileSystem") }) {
		t.Errorf("the idle volume's health is %q", got)
	}
	if got := f.storageHealth(); !slices.Contains(got, "STORAGE_UNREACHABLE "+v1alpha1.ReasonDeviceUnreadable) {
		t.Errorf("the storage's health is %q", got)
	}
	// The log cannot be written: the next change of metadata finds out.
	_ = os.Mkdir(filepath.Join(writer.target("pod-1"), "after"), 0o700)
	unix.Sync()
	writer.awaitHealth("INACCESSIBLE " + v1alpha1.ReasonFileSystemShutDown)

	disk.heal()
	looked()
	if got := idle.health(); slices.Contains(got, "INACCESSIBLE "+v1alpha1.ReasonDeviceUnreadable) {
		t.Errorf("the disk is well, the volume's health is %q", got)
	}
	if got := writer.health(); !slices.Contains(got, "INACCESSIBLE "+v1alpha1.ReasonFileSystemShutDown) {
		t.Errorf("it has not been mounted anew, its health is %q", got)
	}
	writer.stopped()
	idle.stopped()
}

// TestHealthOfExt4: an error that the kernel notes is told until the file system was checked, which staging does.
func TestHealthOfExt4(t *testing.T) {
	v := newFixture(t).volume("pvc-1", filesystem.Ext4).started()
	v.expectHealth()
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(v.device()), "trigger_fs_error")
	must(t, os.WriteFile(trigger, []byte("test"), 0o200))
	v.awaitHealth("DEGRADED " + v1alpha1.ReasonFileSystemErrors)
	v.stopped()
	v.started().expectHealth()
	v.stopped()
}

// TestHealthOfFullPool: without a free block volumes are degraded, until there is one.
func TestHealthOfFullPool(t *testing.T) {
	f := newFixtureOn(t, gib)
	large, v := f.volumeOf(600*mib, "pvc-large", filesystem.Ext4).started(), f.volume("pvc-1", filesystem.Ext4).started()
	must(t, fill(filepath.Join(v.target("pod-1"), "file"), 400*mib))
	v.expectHealth()
	if err := fill(filepath.Join(large.target("pod-1"), "file"), 600*mib); err == nil {
		t.Error("the pool is not full")
	}
	v.expectHealth("DEGRADED " + v1alpha1.ReasonPoolOutOfDataSpace)
	f.expectStorageHealth("STORAGE_DEGRADED " + v1alpha1.ReasonPoolOutOfDataSpace)
	large.stopped()
	must(t, f.pool().DeleteVolume(f.context(), large.id))
	for status, err := f.pool().Status(f.context()); status.PendingDeletions > 0; status, err = f.pool().Status(f.context()) {
		must(t, err)
		time.Sleep(10 * time.Millisecond)
	}
	v.expectHealth()
	f.expectStorageHealth()
	v.stopped()
}

// TestHealthOfMounts: what is not where kubelet has it is told.
func TestHealthOfMounts(t *testing.T) {
	v := newFixture(t).volume("pvc-1", filesystem.XFS).started()
	v.expectHealth()
	must(t, unix.Unmount(v.target("pod-1"), 0))
	v.expectHealth("INACCESSIBLE " + v1alpha1.ReasonNotMounted)
	must(t, unix.Mount("tmpfs", v.target("pod-1"), "tmpfs", 0, ""))
	v.expectHealth("INACCESSIBLE " + v1alpha1.ReasonOtherMount)
	must(t, unix.Unmount(v.target("pod-1"), 0))
	// While kubelet works on it, mounts come and go.
	end, err := v.inFlight.begin(v.id, "publish")
	must(t, err)
	v.expectHealth()
	end()
	v.stopped()
}

// TestHealthOfRefused: a volume that could not be staged for what is on it says so, where it is not mounted.
func TestHealthOfRefused(t *testing.T) {
	f := newFixture(t)
	blank := f.volume("pvc-blank", filesystem.Ext4)
	blank.edit(func(device string) { writeAt(t, device, make([]byte, 1<<20), 0) })
	refused(t, blank.stage(), codes.Internal)
	blank.expectHealth("DATA_LOSS " + v1alpha1.ReasonFileSystemMissing)
	damaged := f.volume("pvc-damaged", filesystem.Ext4)
	damaged.edit(func(device string) { debugfs(t, device, "set_inode_field <2> mode 0", "set_super_value state 3") })
	refused(t, damaged.stage(), codes.Internal)
	damaged.expectHealth("INACCESSIBLE " + v1alpha1.ReasonFileSystemDamaged)
	// Somebody repairs it.
	damaged.edit(func(device string) { debugfs(t, device, "set_inode_field <2> mode 040755", "set_super_value state 1") })
	damaged.started().expectHealth()
	damaged.stopped()
}

// TestHealthOfLostVolume: the thin device is gone from the pool behind the driver's back.
func TestHealthOfLostVolume(t *testing.T) {
	f := newFixture(t)
	v := f.volume("pvc-1", filesystem.Ext4)
	kept, err := f.pool().Volume(v.id)
	must(t, err)
	status, err := f.pool().Status(f.context())
	must(t, err)
	must(t, f.dm.DeleteThin(f.context(), devicemapper.Name(status.DeviceName), devicemapper.ThinID(kept.ThinID)))
	f.restart()
	v.expectHealth("DATA_LOSS " + v1alpha1.ReasonVolumeLost)
}

// TestHealthRefusals: codes for what cannot be answered.
func TestHealthRefusals(t *testing.T) {
	f := newFixture(t)
	f.volume("pvc-1", filesystem.Ext4)
	ask := func(request *csi.NodeGetVolumeHealthRequest) error {
		_, err := f.NodeGetVolumeHealth(f.context(), request)
		return err
	}
	refused(t, ask(&csi.NodeGetVolumeHealthRequest{VolumeId: "pvc-2"}), codes.NotFound, "pvc-2")
	refused(t, ask(&csi.NodeGetVolumeHealthRequest{}), codes.InvalidArgument, "volume_id")
	refused(t, ask(&csi.NodeGetVolumeHealthRequest{VolumeId: "pvc-1", StagingTargetPath: "/etc"}), codes.InvalidArgument, "staging_target_path")
	refused(t, ask(&csi.NodeGetVolumeHealthRequest{VolumeId: "pvc-1", VolumePublishPath: f.kubelet + "/../x"}), codes.InvalidArgument, "volume_publish_path")
	must(t, ask(&csi.NodeGetVolumeHealthRequest{VolumeId: "pvc-1"}))
}
