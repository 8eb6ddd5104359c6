//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

// TestExpand: with either file system and as a block device a claim grows while its pod has it, and again while it has no pod; the pod
// sees the size and finds its bytes.
func TestExpand(t *testing.T) {
	for fsType, class := range map[string]string{"ext4": classExt4, "xfs": classXFS} {
		t.Run(fsType, func(t *testing.T) {
			t.Parallel()
			expandTwice(newFixture(t, 10*time.Minute), fsType, class)
		})
	}
	t.Run("block", func(t *testing.T) {
		t.Parallel()
		expandBlock(newFixture(t, 10*time.Minute))
	})
}

// expandBlock grows a block volume's claim while its pod has the device open, and while it has no pod. Nothing is left for kubelet
// to do: whoever has the device sees its size.
func expandBlock(f *fixture) {
	const size, online, offline = 64 * mebibyte, 96 * mebibyte, 128 * mebibyte
	claim, err := f.CreateClaim(f.ctx, cluster.Claim{Namespace: f.namespace, Name: "block", Class: classExt4, Size: size, Block: true})
	f.must(err)
	w := &deviceWriter{fixture: f, claim: claim, node: suite.nodes[0]}
	check := func(when string, size int64) {
		f.Helper()
		if has := f.shell(w.pod, "blockdev --getsize64 "+cluster.DevicePath); has != strconv.FormatInt(size, 10) {
			f.Errorf("%s: the pod's device has %s bytes, want %d", when, has, size)
		}
		w.check(when)
	}
	w.start()
	w.write(0)
	f.must(f.ExpandClaim(f.ctx, claim, online))
	f.must(f.AwaitExpanded(f.ctx, 3*time.Minute, claim, online, w.pod))
	check("after it grew in use", online)
	w.write(size / mebibyte)
	f.must(f.DeletePod(f.ctx, deletionPatience, w.pod))

	f.must(f.ExpandClaim(f.ctx, claim, offline))
	f.must(f.AwaitExpanded(f.ctx, 3*time.Minute, claim, offline, nil))
	w.start()
	check("after it grew without a pod", offline)
}

func expandTwice(f *fixture, fsType, class string) {
	const size, online, offline = 512 * mebibyte, 768 * mebibyte, 1024 * mebibyte
	claim := f.claim(fsType, class, size)
	w := &writer{fixture: f, node: suite.nodes[1], name: fsType}
	w.start()
	checkFileSystem(w, claim, fsType, size)
	w.write("before")
	// A writer that never pauses, and counts what it has written.
	f.shell(w.pod, "cd "+cluster.MountPath+"; (while :; do echo line >>log; sync log; done) >/dev/null 2>&1 & echo $! >pid")
	begin := time.Now()
	f.must(f.ExpandClaim(f.ctx, claim, online))
	f.must(f.AwaitExpanded(f.ctx, 3*time.Minute, claim, online, w.pod))
	f.Logf("grown %s after it was asked for, in use", time.Since(begin).Round(100*time.Millisecond))
	lines := func() int {
		n, err := strconv.Atoi(f.shell(w.pod, "grep -c line "+cluster.MountPath+"/log"))
		f.must(err)
		return n
	}
	written := lines()
	f.must(cluster.Await(f.ctx, time.Minute, "the pod to go on writing", func(context.Context) (string, error) {
		if now := lines(); now <= written {
			return fmt.Sprintf("%d lines", now), nil
		}
		return "", nil
	}))
	f.shell(w.pod, "kill $(cat "+cluster.MountPath+"/pid)")
	checkFileSystem(w, claim, fsType, online)
	w.check("after it grew in use")
	w.write("between")
	f.must(f.DeletePod(f.ctx, deletionPatience, w.pod))

	f.must(f.ExpandClaim(f.ctx, claim, offline))
	f.must(f.AwaitResizeStatus(f.ctx, 2*time.Minute, claim, corev1.PersistentVolumeClaimNodeResizePending))
	w.start()
	f.must(f.AwaitExpanded(f.ctx, 2*time.Minute, claim, offline, w.pod))
	checkFileSystem(w, claim, fsType, offline)
	w.check("after it grew without a pod")
}

// TestExpandRefused: a claim that would grow beyond the headroom is told how much there is, its pod writes on, and a size that
// fits goes through; a smaller size is refused where it is asked for.
func TestExpandRefused(t *testing.T) {
	beyondMainJob(t)
	t.Parallel()
	const size, fits, far = 64 * mebibyte, 128 * mebibyte, 1 << 44
	f := newFixture(t, 8*time.Minute)
	claim := f.claim("refused", classExt4, size)
	w := &writer{fixture: f, node: suite.nodes[0], name: claim.Name}
	w.start()
	w.write("before")
	f.must(f.ExpandClaim(f.ctx, claim, far))
	event, err := f.AwaitEvent(f.ctx, eventPatience, "PersistentVolumeClaim", claim.Name, "VolumeResizeFailed", "OutOfRange",
		"capacity_range.required_bytes", strconv.Itoa(far), "headroom for", v1alpha1.DefaultPoolName, w.node)
	f.must(err)
	f.Logf("event: %s", event)
	f.must(f.AwaitResizeStatus(f.ctx, time.Minute, claim, corev1.PersistentVolumeClaimControllerResizeInfeasible))
	volumes, err := f.ClaimVolumes(f.ctx, f.namespace, claim.Name)
	f.must(err)
	if len(volumes) != 1 || volumes[0].Spec.Capacity.Value() != size {
		f.Errorf("ThinVolumes are %+v: want one of %d bytes", volumes, size)
	}
	w.check("after a growth that was refused")

	f.must(f.ExpandClaim(f.ctx, claim, fits))
	f.must(f.AwaitExpanded(f.ctx, 3*time.Minute, claim, fits, w.pod))
	if total := diskTotal(w); total < fits-fileSystemOverhead("ext4", fits) {
		f.Errorf("df shows a total of %d bytes for a claim of %d", total, fits)
	}
	w.check("after it grew by what fits")
	if err := f.ExpandClaim(f.ctx, claim, size); err == nil {
		f.Error("a claim of less than it has was accepted")
	}
}

// TestExpandThroughKills: claims of both file systems grow although the agents and the controllers are killed in the middle; each in
// the end has its size in the claim, on the device and in the pod.
func TestExpandThroughKills(t *testing.T) {
	beyondMainJob(t)
	const count, size, grown = 6, 320 * mebibyte, 448 * mebibyte
	f := newFixture(t, 15*time.Minute)
	var writers []*writer
	var claims []*corev1.PersistentVolumeClaim
	fsTypes := []string{"ext4", "xfs"}
	for i := range count {
		class := []string{classExt4, classXFS}[i%2]
		w := &writer{fixture: f, node: suite.nodes[i/2%2], name: fmt.Sprintf("killed-%d", i)}
		claims = append(claims, f.claim(w.name, class, size))
		w.begin()
		writers = append(writers, w)
	}
	for _, w := range writers {
		f.must(f.AwaitRunning(f.ctx, podPatience, w.pod))
		w.write("before")
	}
	for _, claim := range claims {
		f.must(f.ExpandClaim(f.ctx, claim, grown))
	}
	f.must(cluster.Await(f.ctx, 2*time.Minute, "a volume's growth to begin", func(ctx context.Context) (string, error) {
		volumes, err := f.NamespaceVolumes(ctx, f.namespace)
		for _, volume := range volumes {
			if volume.Spec.Capacity.Value() == grown {
				return "", err
			}
		}
		return "none has", err
	}))
	f.kill("while volumes grew")
	for i, claim := range claims {
		f.must(f.AwaitExpanded(f.ctx, 6*time.Minute, claim, grown, writers[i].pod))
		checkFileSystem(writers[i], claim, fsTypes[i%2], grown)
		writers[i].check("after the kill")
		writers[i].write("after")
	}
	f.must(suite.deployment.AwaitRollout(f.ctx))
	f.must(suite.deployment.AwaitPools(f.ctx))
	volumes, err := f.NamespaceVolumes(f.ctx, f.namespace)
	f.must(err)
	for _, volume := range volumes {
		if volume.Status.Size.Value() != grown {
			f.Errorf("ThinVolume %s has %s, want %d", volume.Name, volume.Status.Size, grown)
		}
	}
}
