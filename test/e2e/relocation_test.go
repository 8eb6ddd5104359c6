//go:build e2e

package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

// selectedNode is the annotation with which the scheduler tells csi-provisioner which node it chose.
const selectedNode = "volume.kubernetes.io/selected-node"

// TestRelocation: where the scheduler, scoring by storage capacity, prefers the node that does not have the data, a pod with a
// restored or cloned claim comes to run on the node that has it; a pod with a new claim stays where the scheduler put it. As long
// as the node with the data has no room the pod and its claim say so, and which node that is.
func TestRelocation(t *testing.T) {
	beyondMainJob(t)
	const size = 64 * mebibyte
	f := newFixture(t, 15*time.Minute)
	home, other := suite.nodes[0], suite.nodes[1]
	source, _ := f.volumeOn(home, "source", classExt4, size)
	object, err := f.CreateSnapshot(f.ctx, f.namespace, "snapshot", classSnapshots, source.Name)
	f.must(err)
	_, err = f.AwaitSnapshot(f.ctx, snapshotPatience, object)
	f.must(err)

	// All of the node that has the data but less than what is to be restored: the other one is preferred.
	largest, err := f.LargestVolume(f.ctx, classExt4, home)
	f.must(err)
	f.volumeOn(home, "ballast", classExt4, (largest-size/2)/mebibyte*mebibyte)
	full := func(now int64) bool { return now < size }
	_, err = f.AwaitLargestVolume(f.ctx, capacityPatience, classExt4, home, "too little", full)
	f.must(err)

	plain := f.start("plain", cluster.Claim{})
	f.must(f.AwaitRunning(f.ctx, podPatience, plain))
	if plain.Spec.NodeName != other {
		t.Fatalf("the pod with a new claim runs on %s, want %s", plain.Spec.NodeName, other)
	}
	restored := f.start("restored", cluster.Claim{Snapshot: "snapshot"})
	event, err := f.AwaitEvent(f.ctx, eventPatience, "PersistentVolumeClaim", "restored", "ResourceExhausted", home, "on this node and on no other")
	f.must(err)
	t.Logf("the claim says: %s", event)
	event, err = f.AwaitEvent(f.ctx, eventPatience, "Pod", "restored", "NoRoomAtSource", home, "on this node and on no other")
	f.must(err)
	t.Logf("the pod says: %s", event)

	// With room for it, it runs where its data is.
	ballast := &corev1.PersistentVolumeClaim{}
	ballast.Namespace, ballast.Name = f.namespace, "ballast"
	f.must(f.Delete(f.ctx, ballast))
	f.awaitNoVolume("ballast")
	f.must(f.AwaitRunning(f.ctx, podPatience, restored))
	if restored.Spec.NodeName != home {
		t.Errorf("the restored pod runs on %s, its data is on %s", restored.Spec.NodeName, home)
	}

	// Room for one more and little else: the node with the data is what the scheduler would least choose.
	largest, err = f.AwaitLargestVolume(f.ctx, capacityPatience, classExt4, home, "more", func(now int64) bool { return now > 8*size })
	f.must(err)
	f.volumeOn(home, "smaller-ballast", classExt4, (largest-size-size/4)/mebibyte*mebibyte)
	_, err = f.AwaitLargestVolume(f.ctx, capacityPatience, classExt4, home, "little", func(now int64) bool { return now >= size && now < 2*size })
	f.must(err)
	cloned := f.start("cloned", cluster.Claim{Clone: source.Name})
	f.must(f.AwaitRunning(f.ctx, podPatience, cloned))
	claim := &corev1.PersistentVolumeClaim{}
	f.must(f.Get(f.ctx, client.ObjectKey{Namespace: f.namespace, Name: "cloned"}, claim))
	if cloned.Spec.NodeName != home || claim.Annotations[selectedNode] != other {
		t.Errorf("the cloned pod runs on %s, its data is on %s; the scheduler had chosen %s for its claim, want %s",
			cloned.Spec.NodeName, home, claim.Annotations[selectedNode], other)
	}
}

// start creates a claim with that source and a pod that may run anywhere.
func (f *fixture) start(name string, claim cluster.Claim) *corev1.Pod {
	f.Helper()
	claim.Namespace, claim.Name, claim.Class, claim.Size = f.namespace, name, classExt4, 64*mebibyte
	_, err := f.CreateClaim(f.ctx, claim)
	f.must(err)
	pod, err := f.CreatePod(f.ctx, cluster.Pod{Namespace: f.namespace, Name: name, Claim: name})
	f.must(err)
	return pod
}
