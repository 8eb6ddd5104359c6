//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

const snapshotPatience = 2 * time.Minute

// countingSynced is a script that writes one number after the other behind a file, and waits for each to be on the disk.
const countingSynced = `trap 'exit 0' TERM
i=0
while :; do
	i=$((i+1))
	echo $i >>` + cluster.MountPath + `/numbers
	sync ` + cluster.MountPath + `/numbers
done`

// TestSnapshotAndRestore: of a volume under writes a snapshot holds all that was written before, and nothing half. It is restored
// beside its source on one node, where both file systems have one UUID, to a larger size, and after its source is gone. When it
// was taken and how large it is, all objects say alike.
func TestSnapshotAndRestore(t *testing.T) {
	f := newFixture(t, 20*time.Minute)
	node := suite.nodes[0]
	for class, size := range map[string]int64{classExt4: 128 * mebibyte, classXFS: 320 * mebibyte} {
		source := f.claim(class, class, size)
		pod := f.run(cluster.Pod{Name: class, Claim: source.Name, Node: node, Script: countingSynced})
		sum := f.shell(pod, "cd /data; dd if=/dev/urandom of=random bs=1M count=8 2>/dev/null; sha256sum random")
		before := f.lastNumber(pod)
		object, err := f.CreateSnapshot(f.ctx, f.namespace, class, classSnapshots, source.Name)
		f.must(err)
		snapshot, err := f.AwaitSnapshot(f.ctx, snapshotPatience, object)
		f.must(err)
		after := f.lastNumber(pod)
		f.expectSnapshotStatus(object, snapshot, size)

		check := func(name string, size int64) {
			t.Helper()
			claim, err := f.CreateClaim(f.ctx, cluster.Claim{Namespace: f.namespace, Name: name, Class: class, Size: size, Snapshot: class})
			f.must(err)
			restored := f.run(cluster.Pod{Name: name, Claim: claim.Name, Node: node})
			if found := f.shell(restored, "cd /data; sha256sum random"); found != sum {
				t.Errorf("%s: checksum %q, it was %q before the snapshot", name, found, sum)
			}
			last := f.lastNumber(restored)
			if last < before || last > after {
				t.Errorf("%s: the last number is %d; before the snapshot it was %d, after it %d", name, last, before, after)
			}
			if wrong := f.shell(restored, "awk '$1 != NR' /data/numbers | head -3"); wrong != "" {
				t.Errorf("%s: numbers are missing or torn: %q", name, wrong)
			}
			total := diskTotal(&writer{fixture: f, pod: restored})
			fsType := strings.TrimPrefix(class, "e2e-")
			if least := size - fileSystemOverhead(fsType, size); total < least {
				t.Errorf("%s: df shows %d bytes for a claim of %d", name, total, size)
			}
			f.shell(restored, "echo own >/data/own; sync /data/own")
			f.must(f.DeletePod(f.ctx, deletionPatience, restored))
		}
		check(class+"-beside", size) // its source is mounted on the same node
		check(class+"-larger", 2*size)
		f.must(f.DeletePod(f.ctx, deletionPatience, pod))
		f.must(f.Delete(f.ctx, source))
		f.awaitNoVolume(source.Name)
		check(class+"-orphan", size)
		f.must(f.Delete(f.ctx, object))
		f.must(f.AwaitGone(f.ctx, deletionPatience, snapshot))
	}
}

// lastNumber is the last number that countingSynced has written, whole.
func (f *fixture) lastNumber(pod *corev1.Pod) int {
	f.Helper()
	// A line that is just being written has no end yet.
	number, err := strconv.Atoi(f.shell(pod, "awk 'END {print NR}' /data/numbers"))
	f.must(err)
	return number
}

// expectSnapshotStatus: the VolumeSnapshot says what the node wrote into the driver's object.
func (f *fixture) expectSnapshotStatus(object *unstructured.Unstructured, snapshot *v1alpha1.ThinSnapshot, size int64) {
	f.Helper()
	restoreSize, _, _ := unstructured.NestedString(object.Object, "status", "restoreSize")
	taken, _, _ := unstructured.NestedString(object.Object, "status", "creationTime")
	moment, err := time.Parse(time.RFC3339, taken)
	f.must(err)
	if quantity := resource.MustParse(restoreSize); quantity.Value() != size || snapshot.Status.RestoreSize.Value() != size {
		f.Errorf("%s: restore size is %s and %s, want %d", snapshot.Name, restoreSize, snapshot.Status.RestoreSize, size)
	}
	if !moment.Equal(snapshot.Status.CreationTime.Truncate(time.Second)) {
		f.Errorf("%s: taken at %s, and at %s", snapshot.Name, moment, snapshot.Status.CreationTime)
	}
	if claim := snapshot.Spec.Claim; claim == nil || claim.Namespace != f.namespace {
		f.Errorf("%s: its claim is %+v", snapshot.Name, claim)
	}
}

// awaitNoVolume waits until a claim's volume is gone.
func (f *fixture) awaitNoVolume(claim string) {
	f.Helper()
	f.must(cluster.Await(f.ctx, deletionPatience, "the volume of claim "+claim+" to be gone", func(ctx context.Context) (string, error) {
		volumes, err := f.ClaimVolumes(ctx, f.namespace, claim)
		if err != nil || len(volumes) == 0 {
			return "", err
		}
		return fmt.Sprintf("there is %s", volumes[0].Name), nil
	}))
}

// TestUnknownSnapshotParameters: a VolumeSnapshotClass has no parameters. A snapshot of one that has some fails with their name, and
// its VolumeSnapshot can be deleted.
func TestUnknownSnapshotParameters(t *testing.T) {
	beyondMainJob(t)
	t.Parallel()
	f := newFixture(t, 5*time.Minute)
	claim, _ := f.volumeOn(suite.nodes[0], "source", classExt4, 64*mebibyte)
	const class = "e2e-refused-snapshots"
	f.must(f.EnsureSnapshotClass(f.ctx, class, "csi-dm.io/colour"))
	object, err := f.CreateSnapshot(f.ctx, f.namespace, "refused", class, claim.Name)
	f.must(err)
	f.must(f.AwaitObject(f.ctx, snapshotPatience, object, "refused", func() string {
		message, _, _ := unstructured.NestedString(object.Object, "status", "error", "message")
		if !strings.Contains(message, "csi-dm.io/colour") || !strings.Contains(message, "none is allowed") {
			return fmt.Sprintf("its status is %v", object.Object["status"])
		}
		return ""
	}))
	f.must(f.Delete(f.ctx, object))
	f.must(f.AwaitGone(f.ctx, deletionPatience, object))
	f.must(f.DeleteSnapshotClass(f.ctx, class))
	snapshots, err := f.NamespaceSnapshots(f.ctx, f.namespace)
	f.must(err)
	if len(snapshots) > 0 {
		t.Errorf("left are %v", snapshots)
	}
}
