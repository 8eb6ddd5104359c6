package csi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
	"github.com/csi-dm/csi-dm/test/hostile"
)

const (
	fuzzNode   = "node-1"
	fuzzVolume = "pvc-1-00000000"
)

// FuzzRequests: whatever bytes come as a request of any call of the services, nothing panics, the code is one that the
// specification has, and a call that is refused for good makes, changes and deletes no object. The API server is a fake one: what a
// real one makes of requests only the tests of test/api show.
func FuzzRequests(f *testing.F) {
	methods, err := hostile.Methods("Identity", "Controller", "GroupController")
	if err != nil {
		f.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), clientgoscheme.AddToScheme(scheme)); err != nil {
		f.Fatal(err)
	}
	hostile.Seed(f, methods, goodRequest)
	f.Fuzz(func(t *testing.T, number uint8, text []byte) {
		method := methods[int(number)%len(methods)]
		request := method.Decode(text, hostile.Placeholder)
		if request == nil {
			return
		}
		s, c := fuzzService(t, scheme)
		before := thinObjects(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := method.Call(ctx, hostile.Connect(t, func(registrar grpc.ServiceRegistrar) {
			csi.RegisterIdentityServer(registrar, Identity{})
			csi.RegisterControllerServer(registrar, s)
			if group, ok := any(s).(csi.GroupControllerServer); ok {
				csi.RegisterGroupControllerServer(registrar, group)
			}
		}), request)
		code := status.Code(err)
		if !hostile.Allowed(code) {
			t.Errorf("%s: %v", method.Name, err)
		}
		mayBeUnderWay := code == codes.DeadlineExceeded || code == codes.Canceled || code == codes.Unavailable || code == codes.Aborted
		if after := thinObjects(t, c); err != nil && !mayBeUnderWay && !maps.Equal(before, after) {
			t.Errorf("%s: %v left something: %v became %v", method.Name, err, before, after)
		}
	})
}

// fuzzService is a service in a cluster of one node with a pool and a volume. Its node makes at once what is asked for, and gives
// at once what is deleted.
func fuzzService(t *testing.T, scheme *runtime.Scheme) (*Service, client.Client) {
	t.Helper()
	indexer := &fakeIndexer{fake.NewClientBuilder().WithScheme(scheme)}
	if err := view.AddIndexes(t.Context(), indexer); err != nil {
		t.Fatal(err)
	}
	c := indexer.builder.WithObjects(fuzzCluster()...).WithStatusSubresource(&v1alpha1.ThinVolume{}, &v1alpha1.ThinSnapshot{}, &v1alpha1.ThinGroupSnapshot{}).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
			if err := c.Create(ctx, object, options...); err != nil {
				return err
			}
			made, _ := object.DeepCopyObject().(client.Object)
			switch made := made.(type) {
			case *v1alpha1.ThinVolume:
				made.Status.Conditions = []metav1.Condition{ready(v1alpha1.ConditionReady)}
				made.Status.Size = resource.NewQuantity(view.WholeBlocks(made.Spec.Capacity.Value(), 64<<10), resource.BinarySI)
			case *v1alpha1.ThinSnapshot:
				id, now := int64(7), metav1.NowMicro()
				made.Status = v1alpha1.ThinSnapshotStatus{
					PoolID: "pool", ThinID: &id, CreationTime: &now, RestoreSize: resource.NewQuantity(1<<30, resource.BinarySI),
					Conditions: []metav1.Condition{ready(v1alpha1.ConditionReady)},
				}
			}
			return c.Status().Update(ctx, made)
		},
		Delete: func(ctx context.Context, c client.WithWatch, object client.Object, _ ...client.DeleteOption) error {
			latest, _ := object.DeepCopyObject().(client.Object)
			if err := c.Get(ctx, client.ObjectKeyFromObject(object), latest); err != nil {
				return err
			}
			latest.SetFinalizers(nil)
			if err := c.Update(ctx, latest); err != nil {
				return err
			}
			return c.Delete(ctx, latest)
		},
	}).Build()
	s, err := New(t.Context(), Options{
		Client: c, Live: c, View: view.New(c), Informers: &informertest.FakeInformers{Scheme: scheme}, Capacity: &publisher{},
		Patience: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

type fakeIndexer struct{ builder *fake.ClientBuilder }

func (f *fakeIndexer) IndexField(_ context.Context, object client.Object, field string, values client.IndexerFunc) error {
	f.builder.WithIndex(object, field, values)
	return nil
}

func ready(kind string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady}
}

func fuzzCluster() []client.Object {
	quantity := func(size int64) *resource.Quantity { return resource.NewQuantity(size, resource.BinarySI) }
	volume := &v1alpha1.ThinVolume{
		ObjectMeta: metav1.ObjectMeta{Name: fuzzVolume, Finalizers: []string{v1alpha1.VolumeFinalizer}},
		Spec:       v1alpha1.ThinVolumeSpec{NodeName: fuzzNode, PoolName: v1alpha1.DefaultPoolName, Capacity: *quantity(1 << 30), FSType: "ext4"},
		Status:     v1alpha1.ThinVolumeStatus{Size: quantity(1 << 30), Conditions: []metav1.Condition{ready(v1alpha1.ConditionReady)}},
	}
	return []client.Object{
		&corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: fuzzNode},
			Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
		},
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "csi-dm", Name: "agent"}, Spec: corev1.PodSpec{NodeName: fuzzNode},
			Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		},
		&storagev1.CSINode{
			ObjectMeta: metav1.ObjectMeta{Name: fuzzNode},
			Spec:       storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{{Name: v1alpha1.DriverName, NodeID: fuzzNode}}},
		},
		&v1alpha1.ThinPool{
			ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.DefaultPoolName},
			Spec:       v1alpha1.ThinPoolSpec{NodeSelector: &metav1.LabelSelector{}, PoolSettings: v1alpha1.PoolSettings{MinFreeSpace: "0%"}},
		},
		&v1alpha1.NodeThinPool{
			ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeThinPoolName(v1alpha1.DefaultPoolName, fuzzNode)},
			Spec:       v1alpha1.NodeThinPoolSpec{PoolName: v1alpha1.DefaultPoolName, NodeName: fuzzNode, PoolSettings: v1alpha1.PoolSettings{MinFreeSpace: "0%"}},
			Status: v1alpha1.NodeThinPoolStatus{
				PoolID: "pool", BlockSize: quantity(64 << 10), Data: v1alpha1.SpaceUsage{Total: quantity(1 << 40), Used: quantity(0)},
				Conditions: []metav1.Condition{ready(v1alpha1.ConditionReady), ready(v1alpha1.ConditionAdmitting)},
			},
		},
		volume,
	}
}

// thinObjects are the driver's own objects of every kind, by kind and name, with their versions.
func thinObjects(t *testing.T, c client.Client) map[string]string {
	t.Helper()
	found := map[string]string{}
	for kind, goType := range c.Scheme().KnownTypes(v1alpha1.GroupVersion) {
		if goType.PkgPath() != "github.com/csi-dm/csi-dm/api/v1alpha1" {
			continue
		}
		object, err := c.Scheme().New(v1alpha1.GroupVersion.WithKind(kind))
		list, ok := object.(client.ObjectList)
		if err != nil || !ok {
			continue
		}
		if err := c.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		items, err := apimeta.ExtractList(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			named := item.(client.Object)
			found[kind+" "+named.GetName()] = fmt.Sprint(named.GetResourceVersion(), named.GetDeletionTimestamp())
		}
	}
	return found
}

// TestFuzzedService: what the fuzzed service is asked in order it does, so that more than refusals are fuzzed.
func TestFuzzedService(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), clientgoscheme.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	s, c := fuzzService(t, scheme)
	before := len(thinObjects(t, c))
	response, err := s.CreateVolume(t.Context(), goodVolumeRequest())
	if err != nil {
		t.Fatal(err)
	}
	if after := len(thinObjects(t, c)); before != 3 || after != before+1 {
		t.Errorf("there were %d objects, and are %d with a volume", before, after)
	}
	if _, err := s.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: response.GetVolume().GetVolumeId()}); err != nil {
		t.Error(err)
	}
	if after := len(thinObjects(t, c)); after != before {
		t.Errorf("there were %d objects, and are %d without the volume", before, after)
	}
}

func goodVolumeRequest() *csi.CreateVolumeRequest {
	segments := []*csi.Topology{{Segments: map[string]string{v1alpha1.TopologyKey: fuzzNode}}}
	return &csi.CreateVolumeRequest{
		Name: "pvc-2", CapacityRange: &csi.CapacityRange{RequiredBytes: 1 << 30},
		Parameters: map[string]string{v1alpha1.ParameterPool: v1alpha1.DefaultPoolName, v1alpha1.ParameterMkfsOptions: "-m 1"},
		VolumeCapabilities: []*csi.VolumeCapability{{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: "ext4", MountFlags: []string{"noatime"}}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		}},
		AccessibilityRequirements: &csi.TopologyRequirement{Requisite: segments, Preferred: segments},
	}
}

// goodRequest fills a request of a call with what the sidecars would send.
func goodRequest(method hostile.Method) proto.Message {
	volume := goodVolumeRequest()
	switch request := method.NewRequest().(type) {
	case *csi.CreateVolumeRequest:
		return volume
	case *csi.DeleteVolumeRequest:
		request.VolumeId = fuzzVolume
		return request
	case *csi.ValidateVolumeCapabilitiesRequest:
		request.VolumeId, request.VolumeCapabilities, request.Parameters = fuzzVolume, volume.VolumeCapabilities, volume.Parameters
		return request
	case *csi.GetCapacityRequest:
		request.VolumeCapabilities, request.Parameters = volume.VolumeCapabilities, volume.Parameters
		request.AccessibleTopology = volume.AccessibilityRequirements.Preferred[0]
		return request
	case *csi.CreateSnapshotRequest:
		request.SourceVolumeId, request.Name = fuzzVolume, "snapshot-1"
		return request
	case *csi.CreateVolumeGroupSnapshotRequest:
		request.SourceVolumeIds, request.Name = []string{fuzzVolume}, "group-1"
		return request
	case *csi.ControllerExpandVolumeRequest:
		request.VolumeId, request.CapacityRange, request.VolumeCapability = fuzzVolume, &csi.CapacityRange{RequiredBytes: 2 << 30}, volume.VolumeCapabilities[0]
		return request
	case *csi.ControllerGetVolumeRequest:
		request.VolumeId = fuzzVolume
		return request
	case *csi.ControllerGetVolumeHealthRequest:
		request.VolumeId = fuzzVolume
		return request
	default:
		return request // what fits into its fields is not there, or it has none
	}
}
