//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

// numbering is a script that writes each number into one volume, and, once it is on the disk there, into the other.
const numbering = `trap 'exit 0' TERM
i=0
while :; do
	i=$((i+1))
	for place in ` + cluster.MountPath + ` ` + cluster.SecondPath + `; do
		echo $i >$place/next
		sync $place/next
		mv $place/next $place/number
		sync $place
	done
done`

// TestGroupSnapshot: the volumes of a pod that writes first to one and then to the other are restored from a VolumeGroupSnapshot,
// and hold the same number, or the first one more: they are of one moment.
func TestGroupSnapshot(t *testing.T) {
	beyondMainJob(t)
	f := newFixture(t, 15*time.Minute)
	node := suite.nodes[0]
	labels := map[string]string{"group": f.namespace}
	for _, name := range []string{"first", "second"} {
		claim := f.claim(name, classExt4, 64*mebibyte)
		claim.Labels = labels
		f.must(f.Update(f.ctx, claim))
	}
	pod := f.run(cluster.Pod{Name: "writer", Claim: "first", Second: "second", Node: node, Script: numbering})
	f.must(cluster.Await(f.ctx, podPatience, "the writer to have begun", func(ctx context.Context) (string, error) {
		number, err := f.Shell(ctx, pod, "cat /data2/number 2>/dev/null || true")
		if err != nil || number == "" {
			return "it has written nothing", err
		}
		return "", nil
	}))
	const class = "e2e-groups"
	f.must(f.EnsureGroupSnapshotClass(f.ctx, class))
	object, err := f.CreateGroupSnapshot(f.ctx, f.namespace, "group", class, labels)
	f.must(err)
	group, snapshots, err := f.AwaitGroupSnapshot(f.ctx, snapshotPatience, object)
	f.must(err)
	if len(snapshots) != 2 || group.Status.LongestFreeze == nil || group.Status.LongestFreeze.Duration <= 0 {
		t.Fatalf("the group %+v has the snapshots %v", group.Status, snapshots)
	}
	t.Logf("I/O was held back for %s", group.Status.LongestFreeze.Duration)
	f.must(f.DeletePod(f.ctx, deletionPatience, pod))
	for claim, snapshot := range snapshots {
		_, err := f.CreateClaim(f.ctx, cluster.Claim{Namespace: f.namespace, Name: "restored-" + claim, Class: classExt4, Size: 64 * mebibyte, Snapshot: snapshot})
		f.must(err)
	}
	restored := f.run(cluster.Pod{Name: "reader", Claim: "restored-first", Second: "restored-second"})
	numbers := strings.Fields(f.shell(restored, "cat /data/number /data2/number"))
	if len(numbers) != 2 {
		t.Fatalf("the restored volumes hold %q", numbers)
	}
	first, firstErr := strconv.Atoi(numbers[0])
	second, secondErr := strconv.Atoi(numbers[1])
	if firstErr != nil || secondErr != nil || first < second || first > second+1 {
		t.Errorf("the restored volumes hold %q: they are of two moments", numbers)
	}
	t.Logf("the restored volumes hold %q", numbers)
	f.must(f.Delete(f.ctx, object))
	f.must(f.AwaitGone(f.ctx, deletionPatience, group))
	left, err := f.NamespaceSnapshots(f.ctx, f.namespace)
	f.must(err)
	if len(left) > 0 {
		t.Errorf("of the group there are left %v", left)
	}
}

// TestGroupSnapshotOfTwoNodes: volumes on two nodes are no group, and the VolumeGroupSnapshot says why.
func TestGroupSnapshotOfTwoNodes(t *testing.T) {
	beyondMainJob(t)
	t.Parallel()
	f := newFixture(t, 5*time.Minute)
	labels := map[string]string{"group": f.namespace}
	for _, node := range suite.nodes[:2] {
		claim, _ := f.volumeOn(node, node, classExt4, 64*mebibyte)
		f.must(f.Get(f.ctx, client.ObjectKeyFromObject(claim), claim))
		claim.Labels = labels
		f.must(f.Update(f.ctx, claim))
	}
	const class = "e2e-groups"
	f.must(f.EnsureGroupSnapshotClass(f.ctx, class))
	object, err := f.CreateGroupSnapshot(f.ctx, f.namespace, "group", class, labels)
	f.must(err)
	f.must(f.AwaitObject(f.ctx, snapshotPatience, object, "refused", func() string {
		message, _, _ := unstructured.NestedString(object.Object, "status", "error", "message")
		if !strings.Contains(message, "one pool on one node") || !strings.Contains(message, suite.nodes[1]) {
			return fmt.Sprintf("its status is %v", object.Object["status"])
		}
		return ""
	}))
	f.must(f.Delete(f.ctx, object))
	f.must(f.AwaitGone(f.ctx, deletionPatience, object))
}
