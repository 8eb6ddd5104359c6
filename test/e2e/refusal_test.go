//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

// TestRefusedClasses: a claim of a StorageClass that asks for what there is not stays pending, with an event that names the
// parameter, its value and what is allowed.
func TestRefusedClasses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 10*time.Minute)
	for _, refused := range []struct {
		name       string
		parameters map[string]string
		words      []string
	}{
		{"parameter", map[string]string{"csi-dm.io/colour": "blue"},
			[]string{"csi-dm.io/colour", v1alpha1.ParameterPool, v1alpha1.ParameterMkfsOptions, v1alpha1.ParameterFSType}},
		{"pool", map[string]string{v1alpha1.ParameterPool: "missing"},
			[]string{v1alpha1.ParameterPool, "missing", v1alpha1.DefaultPoolName}},
		{"fstype", map[string]string{v1alpha1.ParameterFSType: "btrfs"},
			[]string{"fs", "btrfs", "ext4", "xfs"}},
		{"mkfs", map[string]string{v1alpha1.ParameterFSType: "ext4", v1alpha1.ParameterMkfsOptions: "-F /dev/ubda"},
			[]string{v1alpha1.ParameterMkfsOptions, "-F"}},
	} {
		class := "e2e-refused-" + refused.name
		f.must(f.EnsureClass(f.ctx, cluster.Class{Name: class, Parameters: refused.parameters, Immediate: true}))
		claim := f.claim(refused.name, class, 64*mebibyte)
		event, err := f.AwaitEvent(f.ctx, eventPatience, "PersistentVolumeClaim", claim.Name, append(refused.words, "ProvisioningFailed")...)
		if err != nil {
			f.Error(err)
		}
		f.Logf("%s: %s", refused.name, event)
		f.expectNothingMade(claim)
		f.must(f.DeleteClass(f.ctx, class))
	}
}

// TestRefusedClassWithPod: a pod whose claim names a class without a pool hears from the scheduler that no node has storage; why is
// said at the claim and at the class.
func TestRefusedClassWithPod(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 5*time.Minute)
	const class = "e2e-refused-waiting"
	f.must(f.EnsureClass(f.ctx, cluster.Class{Name: class, Parameters: map[string]string{v1alpha1.ParameterPool: "missing"}}))
	claim := f.claim("waiting", class, 64*mebibyte)
	pod, err := f.CreatePod(f.ctx, cluster.Pod{Namespace: f.namespace, Name: "waiting", Claim: claim.Name})
	f.must(err)
	_, err = f.AwaitEvent(f.ctx, eventPatience, "Pod", pod.Name, "FailedScheduling")
	f.must(err)
	for kind, name := range map[string]string{"PersistentVolumeClaim": claim.Name, "StorageClass": class} {
		event, err := f.AwaitEvent(f.ctx, eventPatience, kind, name, v1alpha1.ReasonInvalidClass, v1alpha1.ParameterPool, "missing", v1alpha1.DefaultPoolName)
		if err != nil {
			f.Error(err)
		}
		f.Logf("%s: %s", kind, event)
	}
	f.expectNothingMade(claim)
	f.must(f.DeleteClass(f.ctx, class))
}

// TestRefusedSizes: 0 is refused when the claim is made; a size beyond the pool gets an event with the size and what the pool has
// left, for a claim that was sent to a node and for a pod that is to be scheduled.
func TestRefusedSizes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 10*time.Minute)
	_, err := f.CreateClaim(f.ctx, cluster.Claim{Namespace: f.namespace, Name: "zero", Class: classExt4, Size: 0})
	if err == nil || !strings.Contains(err.Error(), "spec.resources") || !strings.Contains(err.Error(), "greater than zero") {
		f.Errorf("a claim of size 0: %v: want a refusal that names the field and what is allowed", err)
	}

	// More than any pool's whole data space: what is free may be changing still.
	node, beyond := suite.nodes[0], int64(0)
	for _, name := range suite.nodes {
		pool, err := suite.deployment.AwaitPool(f.ctx, name)
		f.must(err)
		beyond = max(beyond, quantity(pool.Status.Data.Total)+64*mebibyte)
	}
	claim, err := f.CreateClaim(f.ctx, cluster.Claim{Namespace: f.namespace, Name: "beyond", Class: classExt4, Size: beyond, Node: node})
	f.must(err)
	event, err := f.AwaitEvent(f.ctx, eventPatience, "PersistentVolumeClaim", claim.Name,
		"ResourceExhausted", "capacity_range.required_bytes", fmt.Sprint(beyond), "the largest volume that it can take has ", node)
	if err != nil {
		f.Error(err)
	}
	f.Logf("beyond the pool: %s", event)
	f.expectNothingMade(claim)

	f.claim("scheduled", classExt4, beyond)
	pod, err := f.CreatePod(f.ctx, cluster.Pod{Namespace: f.namespace, Name: "scheduled", Claim: "scheduled"})
	f.must(err)
	_, err = f.AwaitEvent(f.ctx, eventPatience, "Pod", pod.Name, "FailedScheduling", "did not have enough free storage")
	f.must(err)
}

// expectNothingMade: a refused claim is pending and has no ThinVolume.
func (f *fixture) expectNothingMade(claim *corev1.PersistentVolumeClaim) {
	f.Helper()
	f.must(f.Get(f.ctx, client.ObjectKeyFromObject(claim), claim))
	if claim.Status.Phase != corev1.ClaimPending {
		f.Errorf("refused claim %s is %s", claim.Name, claim.Status.Phase)
	}
	volumes, err := f.ClaimVolumes(f.ctx, f.namespace, claim.Name)
	f.must(err)
	if len(volumes) != 0 {
		f.Errorf("refused claim %s has ThinVolumes: %+v", claim.Name, volumes)
	}
}

// TestRefusedPools: what the API server can see is refused by kubectl apply, with the field and what is allowed.
func TestRefusedPools(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 2*time.Minute)
	manifest := func(name, spec string) string {
		return fmt.Sprintf("apiVersion: csi-dm.io/v1alpha1\nkind: ThinPool\nmetadata: {name: %s}\nspec: %s\n", name, spec)
	}
	// A selector that matches no node: a pool that is accepted by mistake must not take a disk.
	const nowhere = "nodeSelector: {matchLabels: {e2e: nowhere}}"
	for _, refused := range []struct {
		name, spec string
		words      []string
	}{
		{"source-missing", "{" + nowhere + "}", []string{"spec.source", "Required"}},
		{"source-two", "{" + nowhere + ", source: {devices: [/dev/sdx], loopback: {size: 1Gi}}}", []string{"source", "exactly one of devices, dataDevice with metadataDevice, thinPoolDevice, and loopback"}},
		{"device-relative", "{" + nowhere + ", source: {devices: [sdx]}}", []string{"spec.source.devices[0]", "^/dev/"}},
		{"device-traversal", "{" + nowhere + ", source: {devices: [/dev/../etc/passwd]}}", []string{"spec.source.devices[0]", "^/dev/"}},
		{"block-size", "{" + nowhere + ", blockSize: 100Ki, source: {devices: [/dev/sdx]}}", []string{"blockSize", "multiple of 64Ki from 64Ki to 1Gi"}},
		{"overprovision", "{" + nowhere + ", overprovision: 0, source: {devices: [/dev/sdx]}}", []string{"overprovision", "from 1 to 100"}},
		{"min-free-space", "{" + nowhere + ", minFreeSpace: 100%, source: {devices: [/dev/sdx]}}", []string{"spec.minFreeSpace"}},
		{"when-full", "{" + nowhere + ", whenFull: Panic, source: {devices: [/dev/sdx]}}", []string{"spec.whenFull", "Error", "Wait"}},
		{"unknown-field", "{" + nowhere + ", colour: blue, source: {devices: [/dev/sdx]}}", []string{"spec.colour", "unknown field"}},
		{v1alpha1.DefaultPoolName, "{source: {devices: [/dev/sdx]}}", []string{"source is immutable"}},
	} {
		_, err := f.Apply(f.ctx, manifest(refused.name, refused.spec))
		if err == nil {
			f.Errorf("%s: accepted", refused.name)
			if refused.name != v1alpha1.DefaultPoolName {
				f.must(f.Delete(f.ctx, &v1alpha1.ThinPool{ObjectMeta: metav1.ObjectMeta{Name: refused.name}}))
			}
			continue
		}
		for _, word := range refused.words {
			if !strings.Contains(err.Error(), word) {
				f.Errorf("%s: the refusal does not say %q: %v", refused.name, word, err)
			}
		}
	}
	_, err := suite.deployment.AwaitPool(f.ctx, suite.nodes[0])
	f.must(err)
}

// TestRefusedDevice: a device that carries anything is left as it is; the pool's condition and events say which device, what is
// on it, and which field allows its removal.
func TestRefusedDevice(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 8*time.Minute)
	node, err := f.Lab.Node(f.ctx, suite.nodes[0])
	f.must(err)
	device, err := node.Output(f.ctx, "sh", "-ec", `truncate -s 512M /var/tmp/e2e-signature
mkfs.ext4 -q -F /var/tmp/e2e-signature >&2
losetup --find --show /var/tmp/e2e-signature`)
	f.must(err)
	t.Cleanup(func() {
		if _, err := node.Output(f.cleanupContext(), "sh", "-ec", "losetup --detach $1; rm /var/tmp/e2e-signature", "sh", device); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	sum := func() string {
		t.Helper()
		output, err := node.Output(f.ctx, "sha256sum", "/var/tmp/e2e-signature")
		f.must(err)
		return output
	}
	before := sum()

	pool := &v1alpha1.ThinPool{
		ObjectMeta: metav1.ObjectMeta{Name: "e2e-signature"},
		Spec: v1alpha1.ThinPoolSpec{
			NodeSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelHostname: node.Name}},
			PoolSettings: v1alpha1.PoolSettings{Source: v1alpha1.PoolSource{Devices: []string{device}}},
		},
	}
	f.must(f.Create(f.ctx, pool))
	part := &v1alpha1.NodeThinPool{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeThinPoolName(pool.Name, node.Name)}}
	t.Cleanup(func() {
		ctx := f.cleanupContext()
		for _, object := range []client.Object{pool, part} {
			if err := client.IgnoreNotFound(f.Delete(ctx, object)); err != nil {
				t.Errorf("clean up: %v", err)
			}
			if err := f.AwaitGone(ctx, deletionPatience, object); err != nil {
				t.Errorf("clean up: %v", err)
			}
		}
	})

	words := []string{"source.devices", device, "ext4", "source.force"}
	f.must(f.AwaitObject(f.ctx, eventPatience, part, "refused", func() string {
		condition := meta.FindStatusCondition(part.Status.Conditions, v1alpha1.ConditionReady)
		if condition == nil || condition.Status != metav1.ConditionFalse || condition.Reason != v1alpha1.ReasonSignatureFound {
			return fmt.Sprintf("its conditions are %+v", part.Status.Conditions)
		}
		for _, word := range words {
			if !strings.Contains(condition.Message, word) {
				return fmt.Sprintf("its message does not say %q: %s", word, condition.Message)
			}
		}
		return ""
	}))
	event, err := f.AwaitEvent(f.ctx, eventPatience, "ThinPool", pool.Name, append(words, v1alpha1.ReasonSignatureFound)...)
	f.must(err)
	f.Logf("the event: %s", event)
	if after := sum(); after != before {
		f.Error("the device was written to")
	}
}
