//go:build kernel

package csi

import (
	"errors"
	"maps"
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
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// inlineID is a name as kubelet makes it of a pod's uid and a volume's name.
const inlineID = "csi-8f2a1c0d9b7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a"

// inlineLimit is the size limit of the tests' service.
const inlineLimit = gib

// inline is a pod's inline volume with the requests that kubelet sends for it.
type inline struct {
	*fixture
	fsType     string
	attributes map[string]string
}

// inline makes what kubelet makes for a pod's volume before it publishes it.
func (f *fixture) inline(fsType filesystem.Type, attributes map[string]string) *inline {
	f.t.Helper()
	v := &inline{fixture: f, fsType: string(fsType), attributes: map[string]string{v1alpha1.ParameterPool: poolName, v1alpha1.AttributeSize: "512Mi"}}
	maps.Copy(v.attributes, attributes)
	v.makePod()
	return v
}

func (v *inline) podDirectory() string { return filepath.Join(v.kubelet, "pods", "0a1b-pod") }

func (v *inline) target() string {
	return filepath.Join(v.podDirectory(), "volumes/kubernetes.io~csi", "scratch", "mount")
}

func (v *inline) makePod() {
	v.t.Helper()
	must(v.t, os.MkdirAll(filepath.Dir(v.target()), 0o750))
}

// forget is what kubelet does when it has done with a pod; the mount's directory must be gone.
func (v *inline) forget() {
	v.t.Helper()
	must(v.t, os.RemoveAll(v.podDirectory()))
}

func (v *inline) request() *csi.NodePublishVolumeRequest {
	volumeContext := map[string]string{
		"csi.storage.k8s.io/pod.name": "web-0", "csi.storage.k8s.io/pod.namespace": "shop", "csi.storage.k8s.io/pod.uid": "0a1b-pod",
		"csi.storage.k8s.io/serviceAccount.name": "default", "csi.storage.k8s.io/ephemeral": "true",
	}
	maps.Copy(volumeContext, v.attributes)
	return &csi.NodePublishVolumeRequest{
		VolumeId: inlineID, TargetPath: v.target(), VolumeContext: volumeContext,
		VolumeCapability: &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: v.fsType}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER},
		},
	}
}

func (v *inline) publish(change ...func(*csi.NodePublishVolumeRequest)) error {
	request := v.request()
	for _, c := range change {
		c(request)
	}
	_, err := v.NodePublishVolume(v.context(), request)
	return err
}

func (v *inline) unpublish() error {
	_, err := v.NodeUnpublishVolume(v.context(), &csi.NodeUnpublishVolumeRequest{VolumeId: inlineID, TargetPath: v.target()})
	return err
}

// reboot is a node that lost its power: no device, and a new process.
func (v *inline) reboot() {
	v.t.Helper()
	if err := v.pool().Deactivate(v.context(), inlineID); err != nil && !errors.Is(err, thinpool.ErrVolumeNotFound) {
		v.t.Fatal(err)
	}
	must(v.t, v.set.Shutdown(v.context(), poolName))
	v.start()
}

// nothingLeft sees that pool, kernel and pod's directory hold nothing of the volume.
func (v *inline) nothingLeft() {
	v.t.Helper()
	v.nothingLeftBut()
}

// nothingLeftBut does the same in a pool that holds other volumes.
func (v *inline) nothingLeftBut(others ...string) {
	v.t.Helper()
	for _, held := range v.pool().Volumes() {
		if !slices.Contains(others, held.Name) {
			v.t.Errorf("the pool holds %+v", held)
		}
	}
	(&volume{fixture: v.fixture, id: inlineID, staging: v.target()}).nothingLeft()
	if _, err := os.Lstat(v.target()); !os.IsNotExist(err) {
		v.t.Errorf("%s is left: %v", v.target(), err)
	}
}

func (v *inline) status() thinpool.Status {
	v.t.Helper()
	status, err := v.pool().Status(v.context())
	must(v.t, err)
	return status
}

// TestInlineVolume takes an inline volume through its life, each call twice and once more after a restart.
func TestInlineVolume(t *testing.T) {
	for _, fsType := range filesystem.Types {
		t.Run(string(fsType), func(t *testing.T) {
			v := newFixture(t).inline(fsType, nil)
			twice := func(call func() error) {
				t.Helper()
				must(t, call())
				must(t, call())
				v.restart()
				must(t, call())
			}
			twice(func() error { return v.publish() })
			if found, _, options := mountOptions(t, v.target()); found != 1 || strings.Contains(options, "noinit_itable") != (fsType == filesystem.Ext4) {
				t.Errorf("%d mounts on the target, options %s", found, options)
			}
			held, err := v.pool().Volume(inlineID)
			must(t, err)
			if held.Size != 512*mib || held.Format.Type != fsType || held.Owner != "pods/0a1b-pod/volumes/kubernetes.io~csi/scratch/mount" {
				t.Errorf("the registry has %+v", held)
			}
			if status := v.status(); status.OwnedVolumes != 1 || status.OwnedBytes != 512*mib || status.PromisedBytes != 512*mib {
				t.Errorf("%d inline volumes of %d bytes, %d bytes are promised", status.OwnedVolumes, status.OwnedBytes, status.PromisedBytes)
			}
			if !slices.Contains(v.changed, poolName) {
				t.Error("nobody was told that the pool has promised more")
			}
			must(t, os.WriteFile(filepath.Join(v.target(), "file"), []byte("content"), 0o600))
			must(t, v.publish())
			if content, err := os.ReadFile(filepath.Join(v.target(), "file")); string(content) != "content" {
				t.Errorf("published once more: %q, %v", content, err)
			}
			stats, err := v.NodeGetVolumeStats(v.context(), &csi.NodeGetVolumeStatsRequest{VolumeId: inlineID, VolumePath: v.target()})
			if err != nil || stats.Usage[0].Total == 0 {
				t.Errorf("statistics: %v, %v", stats, err)
			}
			// The pod is there: nothing is reclaimed.
			v.reclaim(v.context(), time.Now())
			if found, _, _ := mountOptions(t, v.target()); found != 1 {
				t.Error("the volume of a pod that is there was reclaimed")
			}
			twice(v.unpublish)
			v.nothingLeft()
			if status := v.status(); status.OwnedVolumes != 0 || status.OwnedBytes != 0 || status.PromisedBytes != 0 {
				t.Errorf("%d inline volumes of %d bytes are left", status.OwnedVolumes, status.OwnedBytes)
			}
			// The next pod's begins empty.
			must(t, v.publish(func(r *csi.NodePublishVolumeRequest) { r.Readonly = true }))
			if _, err := os.Stat(filepath.Join(v.target(), "file")); !os.IsNotExist(err) {
				t.Errorf("a file of the one before: %v", err)
			}
			if err := os.WriteFile(filepath.Join(v.target(), "file"), nil, 0o600); !errors.Is(err, unix.EROFS) {
				t.Errorf("writing where it is read-only: %v", err)
			}
			refused(t, v.publish(), codes.AlreadyExists, "target_path", "read-only")
			must(t, v.unpublish())
			v.nothingLeft()
		})
	}
}

// TestInlineVolumeAfterEachStep ends the process after each step of a publication and of its opposite. The call that comes again
// finishes; and where none comes because the pod is gone, the volume is reclaimed.
func TestInlineVolumeAfterEachStep(t *testing.T) {
	v := newFixture(t).inline(filesystem.Ext4, nil)
	steps := []struct {
		name string
		do   func()
	}{
		{"directory made", func() { must(t, os.Mkdir(v.target(), targetMode)) }},
		{"volume made", func() {
			parsed, err := v.parseInline(v.request())
			must(t, err)
			_, err = v.pool().CreateVolume(v.context(), parsed.spec)
			must(t, err)
		}},
		{"activated", func() {
			_, err := v.pool().Activate(v.context(), inlineID)
			must(t, err)
		}},
		{"mounted", func() { must(t, v.publish()) }},
		{"unmounted", func() { must(t, v.unmount(v.target())) }},
		{"deactivated", func() { must(t, v.pool().Deactivate(v.context(), inlineID)) }},
		{"deleted", func() { must(t, v.pool().DeleteVolume(v.context(), inlineID)) }},
	}
	for last := range steps {
		for _, after := range []string{"published again", "unpublished again", "pod gone", "node without power"} {
			for _, step := range steps[:last+1] {
				step.do()
			}
			v.restart()
			switch after {
			case "published again":
				must(t, v.publish())
				must(t, os.WriteFile(filepath.Join(v.target(), "file"), []byte("content"), 0o600))
				must(t, v.unpublish())
			case "unpublished again":
				must(t, v.unpublish())
			case "pod gone":
				// A mount goes from a directory that is removed only if somebody unmounts it: kubelet does.
				must(t, v.unmount(v.target()))
				v.forget()
				v.reclaim(v.context(), time.Now())
			case "node without power":
				must(t, v.unmount(v.target()))
				v.reboot()
				v.forget()
				v.reclaim(v.context(), time.Now())
			}
			if v.nothingLeft(); t.Failed() {
				t.Fatalf("ended when %s, then %s", steps[last].name, after)
			}
			v.makePod()
		}
	}
}

// TestInlineVolumeSurvivesReboot: what a pod wrote is there for it after its node was without power.
func TestInlineVolumeSurvivesReboot(t *testing.T) {
	v := newFixture(t).inline(filesystem.XFS, nil)
	must(t, v.publish())
	must(t, os.WriteFile(filepath.Join(v.target(), "file"), []byte("content"), 0o600))
	must(t, v.unmount(v.target()))
	v.reboot()
	v.reclaim(v.context(), time.Now())
	must(t, v.publish())
	if content, err := os.ReadFile(filepath.Join(v.target(), "file")); string(content) != "content" {
		t.Errorf("the file holds %q, %v", content, err)
	}
	must(t, v.unpublish())
	v.nothingLeft()
}

// TestInlineVolumeIsNotReclaimed: in doubt a volume stays.
func TestInlineVolumeIsNotReclaimed(t *testing.T) {
	v := newFixture(t).inline(filesystem.Ext4, nil)
	held := func(why string) {
		t.Helper()
		v.reclaim(v.context(), time.Now())
		if _, err := v.pool().Volume(inlineID); err != nil {
			t.Fatalf("%s: %v", why, err)
		}
	}
	must(t, v.publish())

	// The mount is still there, elsewhere: the pod's directory went from under it.
	elsewhere := filepath.Join(v.kubelet, "elsewhere")
	must(t, os.Mkdir(elsewhere, 0o750))
	must(t, unix.Mount(v.target(), elsewhere, "", unix.MS_BIND, ""))
	must(t, v.unmount(v.target()))
	v.forget()
	held("mounted elsewhere")
	must(t, unix.Unmount(elsewhere, 0))
	must(t, os.Remove(elsewhere))

	// A call for it is under way.
	end, err := v.inFlight.begin(inlineID, "publish")
	must(t, err)
	held("a call is under way")
	end()

	// Kubelet's pods cannot be seen.
	pods := filepath.Join(v.kubelet, "pods")
	must(t, os.Rename(pods, pods+"-away"))
	held("no directory of pods")
	must(t, os.Symlink(pods+"-away", pods))
	held("a link in its place")
	must(t, os.Remove(pods))
	must(t, os.Rename(pods+"-away", pods))

	v.reclaim(v.context(), time.Now())
	v.nothingLeft()
}

// TestInlineVolumeAndClaim: neither passes for the other, and no call for one touches the other.
func TestInlineVolumeAndClaim(t *testing.T) {
	f := newFixture(t)
	claimed := f.volume("pvc-1", filesystem.Ext4)
	must(t, claimed.stage())
	v := f.inline(filesystem.Ext4, nil)
	refused(t, v.publish(func(r *csi.NodePublishVolumeRequest) { r.VolumeId = claimed.id }), codes.AlreadyExists, "owner")
	if _, err := os.Lstat(v.target()); !os.IsNotExist(err) {
		t.Errorf("the target is left: %v", err)
	}
	_, err := v.NodeUnpublishVolume(v.context(), &csi.NodeUnpublishVolumeRequest{VolumeId: claimed.id, TargetPath: v.target()})
	must(t, err)
	v.forget()
	v.reclaim(v.context(), time.Now())
	if found, _, _ := mountOptions(t, claimed.staging); found != 1 {
		t.Error("a claim's volume was unmounted")
	}
	must(t, claimed.unstage())
	if _, err := f.pool().Volume(claimed.id); err != nil {
		t.Errorf("a claim's volume: %v", err)
	}

	v.makePod()
	must(t, v.publish())
	taken := &volume{fixture: f, id: inlineID, fsType: "ext4", staging: claimed.staging}
	refused(t, taken.stage(), codes.FailedPrecondition, "inline")
	refused(t, taken.publish("pod-1"), codes.FailedPrecondition, "inline")
	must(t, taken.unpublish("pod-1"))
	refused(t, taken.unstage(), codes.FailedPrecondition, "in use")
	// In another pod, or with other attributes, it is another volume.
	refused(t, v.publish(func(r *csi.NodePublishVolumeRequest) { r.VolumeContext[v1alpha1.AttributeSize] = "600Mi" }), codes.AlreadyExists, inlineID)
	if found, _, _ := mountOptions(t, v.target()); found != 1 {
		t.Error("a pod's volume was unmounted")
	}
	must(t, v.unpublish())
	v.nothingLeftBut(claimed.id)
}

// TestInlineVolumeRefusedLate: what is refused once the volume was made for it leaves nothing.
func TestInlineVolumeRefusedLate(t *testing.T) {
	v := newFixture(t).inline(filesystem.Ext4, nil)
	for name, test := range map[string]struct {
		change func(*csi.NodePublishVolumeRequest)
		code   codes.Code
		words  string
	}{
		"too small":  {func(r *csi.NodePublishVolumeRequest) { r.VolumeContext[v1alpha1.AttributeSize] = "1Mi" }, codes.InvalidArgument, "size"},
		"other pool": {func(r *csi.NodePublishVolumeRequest) { r.VolumeContext[v1alpha1.ParameterPool] = "fast" }, codes.Unavailable, "fast"},
		"an option that the kernel does not take": {func(r *csi.NodePublishVolumeRequest) {
			r.VolumeCapability.GetMount().MountFlags = []string{"stripe=4294967295", "data=journal", "dioread_nolock", "delalloc"}
		}, codes.Internal, "mount"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, v.publish(test.change), test.code, test.words)
			v.nothingLeft()
		})
	}
	t.Run("no room", func(t *testing.T) {
		v.config.OverprovisionMilli = 1000
		_, _, err := v.set.Open(v.context(), v.config)
		must(t, err)
		_, err = v.pool().CreateVolume(v.context(), thinpool.VolumeSpec{Name: "large", Size: v.status().Data.Total - 256*mib})
		must(t, err)
		refused(t, v.publish(), codes.ResourceExhausted, "can be promised")
		must(t, v.pool().DeleteVolume(v.context(), "large"))
		v.nothingLeft()
	})
	t.Run("something else is mounted there", func(t *testing.T) {
		must(t, os.Mkdir(v.target(), targetMode))
		must(t, unix.Mount("tmpfs", v.target(), "tmpfs", 0, ""))
		refused(t, v.publish(), codes.FailedPrecondition, "target_path")
		must(t, unix.Unmount(v.target(), 0))
		must(t, os.Remove(v.target()))
		v.nothingLeft()
	})
	t.Run("kubelet has no directory", func(t *testing.T) {
		v.forget()
		refused(t, v.publish(), codes.FailedPrecondition, "target_path", "does not exist")
		v.nothingLeft()
		v.makePod()
	})
	t.Run("a link", func(t *testing.T) {
		must(t, os.Symlink(v.kubelet, v.target()))
		refused(t, v.publish(), codes.InvalidArgument, "target_path", "symbolic link")
		must(t, os.Remove(v.target()))
		v.nothingLeft()
	})
}

// TestInlineVolumeForgotten: a volume whose mount kubelet has no directory for goes after some minutes in which kubelet does not publish
// it, although its pod has one.
func TestInlineVolumeForgotten(t *testing.T) {
	v := newFixture(t).inline(filesystem.Ext4, nil)
	lose := func() {
		t.Helper()
		must(t, v.unmount(v.target()))
		must(t, os.Remove(v.target()))
	}
	must(t, v.publish())
	lose()
	began := time.Now()
	look := func(after time.Duration, there bool) {
		t.Helper()
		v.reclaim(v.context(), began.Add(after))
		if _, err := v.pool().Volume(inlineID); there != (err == nil) {
			t.Fatalf("%s after the mount was first missed: %v", after, err)
		}
	}
	look(0, true)
	look(forgottenAfter-time.Second, true)
	// Kubelet asks for it, in vain, and again.
	must(t, v.publish())
	lose()
	look(forgottenAfter, true)
	look(2*forgottenAfter-time.Second, true)
	// It was mounted when it was looked at.
	must(t, v.publish())
	look(2*forgottenAfter, true)
	lose()
	look(3*forgottenAfter, true)
	look(4*forgottenAfter, false)
}
