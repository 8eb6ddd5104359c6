//go:build e2e

package api

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// TestFaultyClasses: a class that can give no volume says why, at itself and at a claim that waits for its first consumer; one that
// is right says nothing.
func TestFaultyClasses(t *testing.T) {
	s := newScene(t, 1, gibibyte)
	nowhere := &v1alpha1.ThinPool{
		ObjectMeta: metav1.ObjectMeta{Name: uniqueName("nowhere")},
		Spec: v1alpha1.ThinPoolSpec{
			NodeSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"scene": "nowhere"}},
			PoolSettings: v1alpha1.PoolSettings{Source: v1alpha1.PoolSource{Devices: []string{"/dev/sdx"}}},
		},
	}
	must(t, suite.Create(t.Context(), nowhere))
	t.Cleanup(func() { remove(t, nowhere) })
	for _, faulty := range []struct {
		name       string
		parameters map[string]string
		words      []string
	}{
		{"unknown-pool", map[string]string{v1alpha1.ParameterPool: "missing"}, []string{v1alpha1.ParameterPool, `"missing"`, s.pool}},
		{"pool-nowhere", map[string]string{v1alpha1.ParameterPool: nowhere.Name}, []string{v1alpha1.ParameterPool, nowhere.Name, "nodeSelector"}},
		{"unknown-parameter", map[string]string{v1alpha1.ParameterPool: s.pool, "csi-dm.io/colour": "blue"}, []string{"csi-dm.io/colour", v1alpha1.ParameterMkfsOptions}},
		{"file-system", map[string]string{v1alpha1.ParameterPool: s.pool, v1alpha1.ParameterFSType: "btrfs"}, []string{v1alpha1.ParameterFSType, `"btrfs"`, "ext4", "xfs"}},
	} {
		t.Run(faulty.name, func(t *testing.T) {
			class := &storagev1.StorageClass{
				ObjectMeta: metav1.ObjectMeta{Name: uniqueName(faulty.name)}, Provisioner: v1alpha1.DriverName, Parameters: faulty.parameters,
				VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer),
			}
			must(t, suite.Create(t.Context(), class))
			t.Cleanup(func() { remove(t, class) })
			awaitEvent(t, "StorageClass", class.Name, corev1.EventTypeWarning, v1alpha1.ReasonInvalidClass, faulty.words...)
			claim := pendingClaim(t, class.Name)
			awaitEvent(t, "PersistentVolumeClaim", claim.Name, corev1.EventTypeWarning, v1alpha1.ReasonInvalidClass, faulty.words...)
		})
	}

	// The class of the scene is older than all of these.
	var list eventsv1.EventList
	must(t, suite.List(t.Context(), &list, client.MatchingFields{"regarding.kind": "StorageClass", "regarding.name": s.class}))
	if len(list.Items) > 0 {
		t.Errorf("a class that is right has the events %+v", list.Items)
	}
}

// pendingClaim makes a claim as it is before a volume is found for it: there is no controller manager here to say so.
func pendingClaim(t *testing.T, class string) *corev1.PersistentVolumeClaim {
	t.Helper()
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: uniqueName("claim")},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	must(t, suite.Create(t.Context(), claim))
	t.Cleanup(func() { remove(t, claim) })
	claim.Status.Phase = corev1.ClaimPending
	must(t, suite.Status().Update(t.Context(), claim))
	return claim
}
