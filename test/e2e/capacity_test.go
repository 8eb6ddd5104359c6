//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

// capacityPatience is how long a change of a pool may take to stand in its capacity object, scheduler's view included.
const capacityPatience = 30 * time.Second

// TestCapacity: a pod that prefers a node goes there while its claim fits, to the other node when it does not; when it fits
// nowhere it waits and says why, and starts by itself once a volume was deleted.
func TestCapacity(t *testing.T) {
	f := newFixture(t, 15*time.Minute)
	preferred, other := suite.nodes[0], suite.nodes[1]
	empty, err := f.AwaitLargestVolume(f.ctx, bootPatience, classExt4, preferred, "that of a pool that admits", func(largest int64) bool { return largest > 0 })
	f.must(err)
	// Five volumes and a bit fill an empty pool.
	size := empty / 5 / mebibyte * mebibyte
	if size < 64*mebibyte {
		f.Fatalf("the largest volume on %s is %d bytes: too little to fill in steps", preferred, empty)
	}
	start := func(name string) *corev1.Pod {
		t.Helper()
		f.claim(name, classExt4, size)
		pod, err := f.CreatePod(f.ctx, cluster.Pod{Namespace: f.namespace, Name: name, Claim: name, PreferredNode: preferred})
		f.must(err)
		return pod
	}
	expectOn := func(pod *corev1.Pod, node, why string) {
		t.Helper()
		f.must(f.AwaitRunning(f.ctx, podPatience, pod))
		if pod.Spec.NodeName != node {
			f.Fatalf("pod %s runs on %s: want %s, %s", pod.Name, pod.Spec.NodeName, node, why)
		}
	}

	expectOn(start("fits"), preferred, "which it prefers and where it fits")
	f.fill(preferred, size)
	expectOn(start("overflows"), other, "since its claim does not fit on the node it prefers")
	f.fill(other, size)

	waiting := start("waits")
	reason, err := f.AwaitUnschedulable(f.ctx, podPatience, waiting)
	f.must(err)
	if !strings.Contains(reason, "did not have enough free storage") {
		f.Errorf("the pod waits because of %q: want that the storage is too little", reason)
	}
	event, err := f.AwaitEvent(f.ctx, eventPatience, "Pod", waiting.Name, "FailedScheduling", "did not have enough free storage")
	f.must(err)
	f.Logf("the event of the pod that waits: %s", event)

	filler := &corev1.PersistentVolumeClaim{}
	filler.Namespace, filler.Name = f.namespace, preferred+"-0"
	deleted := time.Now()
	f.must(f.Delete(f.ctx, filler))
	expectOn(waiting, preferred, "where a volume was deleted")
	f.Logf("the pod that waited ran %s after a claim was deleted", time.Since(deleted).Round(100*time.Millisecond))
}

// fill makes volumes on a node until the next one does not fit, by the capacity that the driver published.
func (f *fixture) fill(node string, size int64) {
	f.Helper()
	const most = 16
	for index := range most {
		largest, err := f.LargestVolume(f.ctx, classExt4, node)
		f.must(err)
		if largest < size {
			f.Logf("%s is full after %d more volumes: %d bytes are left for a request of %d", node, index, largest, size)
			return
		}
		f.volumeOn(node, fmt.Sprintf("%s-%d", node, index), classExt4, size)
		_, err = f.AwaitLargestVolume(f.ctx, capacityPatience, classExt4, node, fmt.Sprintf("below %d", largest),
			func(now int64) bool { return now < largest })
		f.must(err)
	}
	f.Fatalf("%s is not full after %d volumes of %d bytes", node, most, size)
}
