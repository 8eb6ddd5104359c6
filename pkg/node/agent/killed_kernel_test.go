//go:build kernel

package agent

import (
	"fmt"
	"os"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestKilledInCalls kills the process at every failpoint of the engine, and around every call of the engine, that lifeSteps come by:
// a volume is made, mounted, grown, copied by a snapshot and deleted, and a pod's inline volume beside it. The next process is asked
// the same again, as the API server's objects and kubelet do, and must come to the same end: what was written is there, and at last
// no volume, thin device, block device, mount or directory.
func TestKilledInCalls(t *testing.T) {
	kerneltest.CheckClean(t)
	config := thinpool.Config{
		Name: "fast", BlockSize: 64 << 10, OverprovisionMilli: 100_000, ErrorIfNoSpace: true, DiscardPassdown: true,
		Source: thinpool.Source{Devices: []string{kerneltest.Disk(t, 1<<30)}},
	}
	kubelet, err := os.MkdirTemp(kerneltest.Scratch(t), "kubelet-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(kubelet) })
	job := killedJob{Config: config, Kubelet: kubelet, Size: 64 << 20}

	whole := runKilled(t, job)
	if whole.killed || whole.next != len(lifeSteps) {
		t.Fatalf("without a kill the life ends at step %d (killed: %t)", whole.next, whole.killed)
	}
	emptied(t, job)
	if passed(t, whole.places); t.Failed() {
		t.FailNow()
	}
	lives := livesThrough(whole.places)
	for i, kills := range lives {
		t.Run(fmt.Sprintf("life-%d", i+1), func(t *testing.T) {
			job := job
			job.Kills, job.Size = kills, job.Size+int64(i+1)<<20
			liveOn(t, job)
			emptied(t, job)
		})
		if t.Failed() {
			break
		}
	}
	t.Logf("killed at %d places in %d lives: %v", len(whole.places), len(lives), whole.places)
	shutDown(t, config)
}
