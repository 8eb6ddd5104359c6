//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

// TestDeletion: once a claim is deleted its PersistentVolume, ThinVolume, registry entry, thin device, block device, mounts and
// pool space are gone. Each look is shown to see what is there before the deletion.
func TestDeletion(t *testing.T) {
	const size, written = 256 * mebibyte, 64 * mebibyte
	f := newFixture(t, 10*time.Minute)
	node := suite.nodes[0]
	pool, err := suite.deployment.AwaitPool(f.ctx, node)
	f.must(err)
	// So that the base of this size exists and its blocks are not counted below.
	f.volumeOn(node, "base-maker", classExt4, size)
	before, err := f.PoolBlocks(f.ctx, node, pool.Status.DeviceName)
	f.must(err)
	idle, err := f.InspectNode(f.ctx, node)
	f.must(err)

	claim, handle := f.volumeOn(node, "claim", classExt4, size)
	pod := f.run(cluster.Pod{Name: "pod", Claim: "claim"})
	f.shell(pod, fmt.Sprintf("dd if=/dev/urandom of=%s/blob bs=1M count=%d conv=fsync 2>/dev/null", cluster.MountPath, written/mebibyte))
	volume := &v1alpha1.ThinVolume{ObjectMeta: metav1.ObjectMeta{Name: handle}}
	f.must(f.Get(f.ctx, client.ObjectKeyFromObject(volume), volume))
	if volume.Status.ThinID == nil {
		f.Fatalf("ThinVolume %s has no thin id", handle)
	}
	f.expectHeld(node, handle, idle)
	if used := f.usedBytes(node, pool); used < before.Used*before.Size+written {
		f.Errorf("the pool uses %d bytes after %d were written, before it was %d", used, written, before.Used*before.Size)
	}

	f.must(f.DeletePod(f.ctx, deletionPatience, pod))
	f.expectReleased(node, pool.Status.DeviceName, *volume.Status.ThinID, idle)

	persistent := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: claim.Spec.VolumeName}}
	f.must(f.Delete(f.ctx, claim))
	for _, object := range []client.Object{claim, persistent, volume} {
		f.must(f.AwaitGone(f.ctx, deletionPatience, object))
	}
	f.must(cluster.Await(f.ctx, deletionPatience, "the registry to forget the volume", func(ctx context.Context) (string, error) {
		names, err := suite.deployment.RegistryVolumes(ctx, node)
		if err != nil {
			return "", err
		}
		if slices.Contains(names, handle) {
			return fmt.Sprintf("it holds %q", names), nil
		}
		return "", nil
	}))
	exists, err := f.ThinDeviceExists(f.ctx, node, pool.Status.DeviceName, *volume.Status.ThinID)
	f.must(err)
	if exists {
		f.Errorf("thin device %d is in the pool although its volume is gone", *volume.Status.ThinID)
	}
	f.must(cluster.Await(f.ctx, deletionPatience, "the pool to have its blocks back", func(ctx context.Context) (string, error) {
		after, err := f.PoolBlocks(ctx, node, pool.Status.DeviceName)
		if err != nil {
			return "", err
		}
		if after.Used > before.Used {
			return fmt.Sprintf("it uses %d blocks, before it was %d", after.Used, before.Used), nil
		}
		return "", nil
	}))
}

// expectHeld: the looks below see a volume that a pod uses.
func (f *fixture) expectHeld(node, handle string, idle cluster.NodeState) {
	f.Helper()
	names, err := suite.deployment.RegistryVolumes(f.ctx, node)
	f.must(err)
	if !slices.Contains(names, handle) {
		f.Fatalf("the registry does not hold volume %s: %q", handle, names)
	}
	state, err := f.InspectNode(f.ctx, node)
	f.must(err)
	if more := state.Beyond(idle); len(more.Devices) == 0 || len(more.Mounts) < 2 {
		f.Fatalf("a pod uses a volume, and the node has in addition %s: want a device, and a mount for stage and one for publish", more)
	}
}

// expectReleased: without its pod a volume has neither block device nor mount, and its thin device is still in the pool.
func (f *fixture) expectReleased(node, pool string, thinID int64, idle cluster.NodeState) {
	f.Helper()
	f.must(cluster.Await(f.ctx, deletionPatience, "the volume to be unstaged", func(ctx context.Context) (string, error) {
		state, err := f.InspectNode(ctx, node)
		if err != nil {
			return "", err
		}
		if more := state.Beyond(idle); !more.Empty() {
			return more.String(), nil
		}
		return "", nil
	}))
	exists, err := f.ThinDeviceExists(f.ctx, node, pool, thinID)
	f.must(err)
	if !exists {
		f.Fatalf("thin device %d is not in the pool although its volume is there", thinID)
	}
}

func (f *fixture) usedBytes(node string, pool *v1alpha1.NodeThinPool) int64 {
	f.Helper()
	blocks, err := f.PoolBlocks(f.ctx, node, pool.Status.DeviceName)
	f.must(err)
	return blocks.Used * blocks.Size
}
