//go:build e2e

package api

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller"
)

const (
	mebibyte = int64(1) << 20
	gibibyte = int64(1) << 30
)

// replica is a controller of the cluster, with the rights that the chart gives it, and a client of its CSI service.
type replica struct {
	csi.ControllerClient
	csi.GroupControllerClient
	connection *grpc.ClientConn
	stop       func()
}

// startReplica runs a controller until the test ends or stop is called.
func startReplica(t *testing.T, change ...func(*controller.Options)) *replica {
	t.Helper()
	options := controller.DefaultOptions()
	options.Endpoint = "unix://" + filepath.Join(t.TempDir(), "csi.sock")
	options.HTTPEndpoint = ""
	options.Namespace = namespace
	options.NodeGonePeriod = time.Second
	for _, c := range change {
		c(&options)
	}
	must(t, options.Validate())
	account := "system:serviceaccount:" + namespace
	config := rest.CopyConfig(suite.config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: account + ":csi-dm-controller",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	ctx, cancel := context.WithCancel(context.Background())
	c, err := controller.New(ctx, config, options, prometheus.NewRegistry())
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("controller: %v", err)
		}
	}
	t.Cleanup(stop)
	connection, err := grpc.NewClient(options.Endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { connection.Close() })
	probe, cancelProbe := context.WithTimeout(ctx, eventually)
	defer cancelProbe()
	if _, err := csi.NewIdentityClient(connection).Probe(probe, &csi.ProbeRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatalf("the controller does not serve: %v", err)
	}
	return &replica{ControllerClient: csi.NewControllerClient(connection), GroupControllerClient: csi.NewGroupControllerClient(connection), connection: connection, stop: stop}
}

// scene is a pool on some nodes, a class of it, and a controller.
type scene struct {
	*testing.T
	*replica
	pool, class string
	nodes       []*standIn
}

// newScene makes a scene in which each node's part of the pool has size bytes of data space and keeps none free.
func newScene(t *testing.T, nodes int, size int64, change ...func(*controller.Options)) *scene {
	t.Helper()
	s := &scene{T: t, pool: uniqueName("pool"), class: uniqueName("class")}
	label := uniqueName("scene")
	for range nodes {
		s.nodes = append(s.nodes, newStandIn(t, uniqueName("node"), map[string]string{"scene": label}))
	}
	pool := &v1alpha1.ThinPool{
		ObjectMeta: metav1.ObjectMeta{Name: s.pool},
		Spec: v1alpha1.ThinPoolSpec{
			NodeSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"scene": label}},
			PoolSettings: v1alpha1.PoolSettings{MinFreeSpace: "0%", Source: v1alpha1.PoolSource{Devices: []string{"/dev/sdx"}}},
		},
	}
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: s.class}, Provisioner: v1alpha1.DriverName,
		Parameters: map[string]string{v1alpha1.ParameterPool: s.pool},
	}
	s.replica = startReplica(t, change...)
	for _, object := range []client.Object{pool, class} {
		must(t, suite.Create(t.Context(), object))
	}
	// Runs before the nodes and the controller go: what is left of the scene is taken away by force.
	t.Cleanup(func() {
		var volumes v1alpha1.ThinVolumeList
		must(t, suite.List(context.Background(), &volumes, client.MatchingFields{"spec.poolName": s.pool}))
		for i := range volumes.Items {
			remove(t, &volumes.Items[i])
		}
		var snapshots v1alpha1.ThinSnapshotList
		must(t, suite.List(context.Background(), &snapshots, client.MatchingFields{"spec.poolName": s.pool}))
		for i := range snapshots.Items {
			remove(t, &snapshots.Items[i])
		}
		var groups v1alpha1.ThinGroupSnapshotList
		must(t, suite.List(context.Background(), &groups, client.MatchingFields{"spec.poolName": s.pool}))
		for i := range groups.Items {
			remove(t, &groups.Items[i])
		}
		remove(t, class)
		remove(t, pool)
		for _, node := range s.nodes {
			remove(t, &v1alpha1.NodeThinPool{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeThinPoolName(s.pool, node.name)}})
		}
	})
	for _, node := range s.nodes {
		node.report(s.pool, size, 0)
		s.awaitCapacity(node, size)
	}
	return s
}

// request asks for a volume of size bytes on a node, as csi-provisioner does for one that the scheduler chose.
func (s *scene) request(name string, size int64, node *standIn) *csi.CreateVolumeRequest {
	request := &csi.CreateVolumeRequest{
		Name:          name,
		CapacityRange: &csi.CapacityRange{RequiredBytes: size},
		Parameters: map[string]string{
			v1alpha1.ParameterPool:             s.pool,
			"csi.storage.k8s.io/pvc/name":      "claim-" + name,
			"csi.storage.k8s.io/pvc/namespace": "default",
			"csi.storage.k8s.io/pv/name":       name,
		},
		VolumeCapabilities: []*csi.VolumeCapability{{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: "ext4"}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		}},
	}
	if node != nil {
		request.AccessibilityRequirements = &csi.TopologyRequirement{Preferred: []*csi.Topology{topology(node)}}
		for _, other := range s.nodes {
			request.AccessibilityRequirements.Requisite = append(request.AccessibilityRequirements.Requisite, topology(other))
		}
	}
	return request
}

func topology(node *standIn) *csi.Topology {
	return &csi.Topology{Segments: map[string]string{v1alpha1.TopologyKey: v1alpha1.TopologyValue(node.name)}}
}

// create calls CreateVolume with the time that csi-provisioner gives it.
func (s *scene) create(request *csi.CreateVolumeRequest) (*csi.Volume, error) {
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	response, err := s.CreateVolume(ctx, request)
	return response.GetVolume(), err
}

func (s *scene) mustCreate(request *csi.CreateVolumeRequest) *csi.Volume {
	s.Helper()
	volume, err := s.create(request)
	must(s.T, err)
	return volume
}

func (s *scene) delete(id string) error {
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	_, err := s.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: id})
	return err
}

// expectRefusal checks a call's code and what its message names.
func expectRefusal(t *testing.T, err error, code codes.Code, words ...string) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("%v: want code %s", err, code)
	}
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("the refusal does not say %q: %v", word, err)
		}
	}
}

// expectNoVolume checks that no ThinVolume of a request is left on a node, or on any.
func (s *scene) expectNoVolumes(why string) {
	s.Helper()
	await(s.T, "no ThinVolume to be left "+why, func(ctx context.Context) string {
		var volumes v1alpha1.ThinVolumeList
		if err := suite.List(ctx, &volumes, client.MatchingFields{"spec.poolName": s.pool}); err != nil {
			return err.Error()
		}
		if len(volumes.Items) > 0 {
			return fmt.Sprintf("%d are left, the first is %s", len(volumes.Items), volumes.Items[0].Name)
		}
		return ""
	})
}

// capacity is the published object of the scene's class on a node, or nil.
func (s *scene) capacity(ctx context.Context, node *standIn) (*storagev1.CSIStorageCapacity, error) {
	var list storagev1.CSIStorageCapacityList
	if err := suite.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	var found *storagev1.CSIStorageCapacity
	for i := range list.Items {
		object := &list.Items[i]
		if object.StorageClassName != s.class || object.NodeTopology.MatchLabels[v1alpha1.TopologyKey] != v1alpha1.TopologyValue(node.name) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("objects %s and %s are for the same class and node", found.Name, object.Name)
		}
		found = object
	}
	return found, nil
}

// awaitCapacity waits until size bytes are published for a node; -1 means no object at all.
func (s *scene) awaitCapacity(node *standIn, size int64) time.Duration {
	s.Helper()
	return await(s.T, fmt.Sprintf("capacity %d of %s on %s", size, s.class, node.name), func(ctx context.Context) string {
		object, err := s.capacity(ctx, node)
		switch {
		case err != nil:
			return err.Error()
		case object == nil && size == -1:
			return ""
		case object == nil:
			return "there is no object"
		case object.Capacity.Value() != size || object.MaximumVolumeSize.Value() != size:
			return fmt.Sprintf("capacity is %s (%d), maximumVolumeSize %s", object.Capacity, object.Capacity.Value(), object.MaximumVolumeSize)
		}
		return ""
	})
}

func (s *scene) volume(id string) *v1alpha1.ThinVolume {
	s.Helper()
	volume := &v1alpha1.ThinVolume{}
	must(s.T, suite.Get(s.Context(), client.ObjectKey{Name: id}, volume))
	return volume
}

// awaitVolume waits for the ThinVolume of a request on a node.
func (s *scene) awaitVolume(request string, node *standIn) *v1alpha1.ThinVolume {
	s.Helper()
	volume := &v1alpha1.ThinVolume{}
	await(s.T, "the ThinVolume of "+request, func(ctx context.Context) string {
		err := suite.Get(ctx, client.ObjectKey{Name: v1alpha1.VolumeName(request, node.name)}, volume)
		if err != nil {
			return err.Error()
		}
		return ""
	})
	return volume
}

func exists(t *testing.T, object client.Object) bool {
	t.Helper()
	err := suite.Get(t.Context(), client.ObjectKeyFromObject(object), object)
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}
