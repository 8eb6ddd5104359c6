package csi

import (
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// TestStageFailures: what the engine refuses gets its code, and a device that was made for nothing goes.
func TestStageFailures(t *testing.T) {
	n, pool, kubelet := newBroken(t)
	stage := func() error {
		_, err := n.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{
			VolumeId: "pvc-1", StagingTargetPath: filepath.Join(kubelet, "staging"), VolumeCapability: mountCapability(nil),
		})
		return err
	}
	for _, err := range []error{thinpool.ErrPoolFailed, thinpool.ErrPoolClosed} {
		pool.activate = &thinpool.Error{Op: "activate", Pool: "test", Volume: "pvc-1", Err: err}
		if got := stage(); status.Code(got) != codes.Unavailable {
			t.Errorf("%v became %v", err, got)
		}
	}
	pool.activate = nil
	if err := stage(); status.Code(err) != codes.Internal { // its device is /dev/null
		t.Errorf("a device that cannot be read: %v", err)
	}
	if pool.active {
		t.Error("the device is left")
	}
	// That the device cannot be removed is said beside what went wrong first.
	pool.deactivate = &thinpool.Error{Op: "deactivate", Pool: "test", Volume: "pvc-1", Err: unix.EIO}
	if err := stage(); status.Code(err) != codes.Internal {
		t.Errorf("got %v", err)
	}
}

// TestDeviceThatIsReplaced: a volume that is deleted and made again while it is staged can get another device, and its first
// one's number can be another volume's by then.
func TestDeviceThatIsReplaced(t *testing.T) {
	n, pool, kubelet := newBroken(t)
	pool.devices = []string{"/dev/zero", "/dev/null"}
	_, err := n.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{
		VolumeId: "pvc-1", StagingTargetPath: filepath.Join(kubelet, "staging"), VolumeCapability: mountCapability(nil),
	})
	if status.Code(err) != codes.Aborted {
		t.Errorf("got %v", err)
	}
}

func TestUnstageInUse(t *testing.T) {
	n, pool, kubelet := newBroken(t)
	released := 0
	n.config.Released = func(string) { released++ }
	unstage := func() error {
		_, err := n.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{
			VolumeId: "pvc-1", StagingTargetPath: filepath.Join(kubelet, "staging"),
		})
		return err
	}
	pool.deactivate = &thinpool.Error{Op: "deactivate", Pool: "test", Volume: "pvc-1", Err: thinpool.ErrVolumeInUse}
	if err := unstage(); status.Code(err) != codes.FailedPrecondition || released != 0 {
		t.Errorf("in use: %v, released %d times", err, released)
	}
	pool.deactivate = nil
	if err := unstage(); err != nil || released != 1 {
		t.Errorf("free: %v, released %d times", err, released)
	}
}
