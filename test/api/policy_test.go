//go:build e2e

package api

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// TestAgentRights: with the token of one node's agent everything that is not its own node's is out of reach, and of its own
// node's objects all but status and finalizers.
func TestAgentRights(t *testing.T) {
	own, other := uniqueName("own"), uniqueName("other")
	agent := newStandIn(t, own, nil)
	agent.decide(sleeps)
	agent.keep(true)
	newStandIn(t, other, nil).decide(sleeps)
	for _, node := range []string{own, other} {
		for _, object := range []client.Object{volumeOn(node), snapshotOn(node), groupOn(node), partOn(node)} {
			must(t, suite.Create(t.Context(), object))
			t.Cleanup(func() { remove(t, object) })
		}
	}
	changes := map[string]func(client.Object) error{
		"status": func(object client.Object) error {
			return agent.Status().Patch(t.Context(), object, merge(`{"status":{"observedGeneration":7}}`))
		},
		"status by update": func(object client.Object) error {
			must(t, suite.Get(t.Context(), client.ObjectKeyFromObject(object), object))
			return agent.Status().Update(t.Context(), object)
		},
		"finalizers": func(object client.Object) error {
			return agent.Patch(t.Context(), object, merge(`{"metadata":{"finalizers":["csi-dm.io/changed"]}}`))
		},
		"spec": func(object client.Object) error {
			switch object.(type) {
			case *v1alpha1.ThinVolume:
				return agent.Patch(t.Context(), object, merge(`{"spec":{"capacity":"2Gi"}}`))
			case *v1alpha1.ThinGroupSnapshot:
				return agent.Patch(t.Context(), object, merge(`{"spec":{"poolName":"other"}}`))
			case *v1alpha1.ThinSnapshot:
				return agent.Patch(t.Context(), object, merge(`{"spec":{"volumeName":"other"}}`))
			}
			return agent.Patch(t.Context(), object, merge(`{"spec":{"overprovision":5}}`))
		},
		"delete": func(object client.Object) error { return agent.Delete(t.Context(), object) },
		"create": func(object client.Object) error {
			object.SetName(uniqueName("made-by-agent"))
			return agent.Create(t.Context(), object)
		},
	}
	for _, node := range []string{own, other} {
		for kind, of := range map[string]func(string) client.Object{
			"volume":   func(node string) client.Object { return volumeOn(node) },
			"snapshot": func(node string) client.Object { return snapshotOn(node) },
			"group":    func(node string) client.Object { return groupOn(node) },
			"pool":     func(node string) client.Object { return partOn(node) },
		} {
			for what, change := range changes {
				t.Run(strings.Join([]string{kind, what, strings.SplitN(node, "-", 2)[0]}, "/"), func(t *testing.T) {
					object := of(node)
					err := change(object)
					allowed := node == own && (strings.HasPrefix(what, "status") || what == "finalizers")
					switch {
					case allowed && err != nil:
						t.Errorf("refused: %v", err)
					// A spec that nobody may change is refused by the kind before the policy is asked.
					case !allowed && !refused(err) && (err == nil || !strings.Contains(err.Error(), "spec is immutable")):
						t.Errorf("%v: want that it is refused", err)
					}
				})
			}
		}
	}
}

// refused tells whether authorization or the admission policy stood in the way.
func refused(err error) bool {
	return apierrors.IsForbidden(err) || (apierrors.IsInvalid(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy"))
}

// TestAgentReadsNothingElse: nothing secret can be read with an agent's token, and nothing else be written.
func TestAgentReadsNothingElse(t *testing.T) {
	agent := newStandIn(t, uniqueName("reader"), nil)
	for _, list := range []client.ObjectList{
		&corev1.SecretList{}, &corev1.PersistentVolumeList{}, &corev1.PersistentVolumeClaimList{}, &corev1.NodeList{}, &corev1.PodList{},
		&corev1.EventList{}, &corev1.ConfigMapList{}, &storagev1.StorageClassList{}, &storagev1.CSIStorageCapacityList{}, &v1alpha1.ThinPoolList{},
	} {
		if err := agent.List(t.Context(), list); !apierrors.IsForbidden(err) {
			t.Errorf("list %T: %v: want that it is refused", list, err)
		}
	}
	event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "by-agent"}}
	if err := agent.Create(t.Context(), event); !apierrors.IsForbidden(err) {
		t.Errorf("create an event: %v: want that it is refused", err)
	}
}

func merge(patch string) client.Patch {
	return client.RawPatch("application/merge-patch+json", []byte(patch))
}

func volumeOn(node string) *v1alpha1.ThinVolume {
	return &v1alpha1.ThinVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "rights-" + node},
		Spec:       v1alpha1.ThinVolumeSpec{NodeName: node, PoolName: "rights", Capacity: resource.MustParse("1Gi"), FSType: "ext4"},
	}
}

func snapshotOn(node string) *v1alpha1.ThinSnapshot {
	return &v1alpha1.ThinSnapshot{
		ObjectMeta: metav1.ObjectMeta{Name: "rights-" + node},
		Spec: v1alpha1.ThinSnapshotSpec{
			NodeName: node, PoolName: "rights", VolumeName: "rights-" + node, Capacity: resource.MustParse("1Gi"), FSType: "ext4",
		},
	}
}

func groupOn(node string) *v1alpha1.ThinGroupSnapshot {
	return &v1alpha1.ThinGroupSnapshot{
		ObjectMeta: metav1.ObjectMeta{Name: "rights-" + node},
		Spec: v1alpha1.ThinGroupSnapshotSpec{NodeName: node, PoolName: "rights", Members: []v1alpha1.GroupSnapshotMember{
			{VolumeName: "rights-" + node, SnapshotName: "rights-" + node, Capacity: resource.MustParse("1Gi")},
		}},
	}
}

func partOn(node string) *v1alpha1.NodeThinPool {
	return &v1alpha1.NodeThinPool{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeThinPoolName("rights", node)},
		Spec: v1alpha1.NodeThinPoolSpec{NodeName: node, PoolName: "rights", PoolSettings: v1alpha1.PoolSettings{
			Source: v1alpha1.PoolSource{Devices: []string{"/dev/sdx"}}, BlockSize: "64Ki",
		}},
	}
}
