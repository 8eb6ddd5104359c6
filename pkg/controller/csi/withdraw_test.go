package csi

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// publisher counts, and fails if it is told to.
type publisher struct {
	calls int
	err   error
}

func (p *publisher) PublishPool(context.Context, string, string) error {
	p.calls++
	return p.err
}

// service is one on a fake API server: these tests are about what an API server does only when something is wrong with it.
func service(t *testing.T, publisher CapacityPublisher, intercept interceptor.Funcs, objects ...client.Object) *Service {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&v1alpha1.ThinVolume{}).
		WithInterceptorFuncs(intercept).Build()
	return &Service{client: c, live: c, capacity: publisher, notifier: newNotifier(), assumed: newAssumedVolumes()}
}

func pending(t *testing.T, s *Service) *v1alpha1.ThinVolume {
	t.Helper()
	volume := &v1alpha1.ThinVolume{}
	if err := s.client.Get(t.Context(), client.ObjectKey{Name: "pvc-1-00000000"}, volume); err != nil {
		t.Fatal(err)
	}
	return volume
}

func stored() *v1alpha1.ThinVolume {
	return &v1alpha1.ThinVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-1-00000000", Finalizers: []string{v1alpha1.VolumeFinalizer}},
		Spec:       v1alpha1.ThinVolumeSpec{NodeName: "node", PoolName: "pool"},
	}
}

var refusal = &exhaustedError{"no room"}

// TestWithdrawThatFails: a volume that could not be taken back is not refused for good: the caller must ask again.
func TestWithdrawThatFails(t *testing.T) {
	published := &publisher{}
	s := service(t, published, interceptor.Funcs{
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
			return apierrors.NewInternalError(errors.New("etcd is away"))
		},
	}, stored())
	_, err := s.withdraw(t.Context(), &request{name: "pvc-1"}, pending(t, s), refusal)
	if code := status.Code(asStatus(err)); code != codes.Unavailable {
		t.Errorf("%v has code %s, want %s", err, code, codes.Unavailable)
	}
	if published.calls != 1 {
		t.Errorf("capacity was published %d times, want once, before", published.calls)
	}
}

// TestWithdrawWithoutPublishing: capacity that cannot be published now is published later, the refusal stands.
func TestWithdrawWithoutPublishing(t *testing.T) {
	s := service(t, &publisher{err: errors.New("forbidden")}, interceptor.Funcs{}, stored())
	_, err := s.withdraw(t.Context(), &request{name: "pvc-1"}, pending(t, s), refusal)
	if !errors.Is(err, error(refusal)) {
		t.Errorf("got %v, want the refusal", err)
	}
	if volume := pending(t, s); volume.DeletionTimestamp == nil {
		t.Error("the volume was not withdrawn")
	}
}

// TestWithdrawTooLate: a volume that became ready between the decision and the deletion is given out, not deleted.
func TestWithdrawTooLate(t *testing.T) {
	s := service(t, &publisher{}, interceptor.Funcs{}, stored())
	decided := pending(t, s)
	ready := decided.DeepCopy()
	apimeta.SetStatusCondition(&ready.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady})
	if err := s.client.Status().Update(t.Context(), ready); err != nil {
		t.Fatal(err)
	}
	made, err := s.withdraw(t.Context(), &request{name: "pvc-1"}, decided, refusal)
	if err != nil || made == nil || made.DeletionTimestamp != nil {
		t.Errorf("got %v, %v, want the volume", made, err)
	}
}

// TestWithdrawOfUsedVolume: a volume that was made once and that a PersistentVolume uses is never deleted by a CreateVolume call.
func TestWithdrawOfUsedVolume(t *testing.T) {
	id := int64(7)
	volume := stored()
	volume.Status.ThinID = &id
	s := service(t, &publisher{}, interceptor.Funcs{}, volume, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-1"},
		Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
			Driver: v1alpha1.DriverName, VolumeHandle: volume.Name}}},
	})
	_, err := s.withdraw(t.Context(), &request{name: "pvc-1"}, pending(t, s), refusal)
	if code := status.Code(asStatus(err)); code != codes.Unavailable {
		t.Errorf("%v has code %s, want %s", err, code, codes.Unavailable)
	}
	if volume := pending(t, s); volume.DeletionTimestamp != nil {
		t.Error("the volume was deleted")
	}
}
