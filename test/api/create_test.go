//go:build e2e

package api

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// TestCreateAndDelete: a volume is made on the preferred node and deleted, each in exactly two writes.
func TestCreateAndDelete(t *testing.T) {
	s := newScene(t, 2, 10*gibibyte)
	name := uniqueName("pvc")
	request := s.request(name, gibibyte+1, s.nodes[1])
	begin := time.Now()
	volume := s.mustCreate(request)
	t.Logf("CreateVolume took %s", time.Since(begin))
	id := v1alpha1.VolumeName(name, s.nodes[1].name)
	if volume.VolumeId != id {
		t.Errorf("the handle is %q, want %q", volume.VolumeId, id)
	}
	if want := gibibyte + blockSize; volume.CapacityBytes != want {
		t.Errorf("capacity is %d, want %d: whole blocks", volume.CapacityBytes, want)
	}
	if len(volume.AccessibleTopology) != 1 || volume.AccessibleTopology[0].Segments[v1alpha1.TopologyKey] != s.nodes[1].name {
		t.Errorf("topology is %v, want node %s", volume.AccessibleTopology, s.nodes[1].name)
	}
	if volume.VolumeContext[v1alpha1.ParameterPool] != s.pool {
		t.Errorf("volume context is %v, want the pool's name", volume.VolumeContext)
	}
	spec := s.volume(id).Spec
	if spec.Claim == nil || spec.Claim.Name != "claim-"+name || spec.Claim.Namespace != "default" {
		t.Errorf("claim is %+v", spec.Claim)
	}
	if again := s.mustCreate(request); again.VolumeId != id {
		t.Errorf("the repeated request gave %q", again.VolumeId)
	}
	made := writes(t, "thinvolumes", id)
	if len(made) != 2 || made[0].Verb != "create" || made[1].ObjectRef.Subresource != "status" {
		t.Errorf("writes from CreateVolume to ready:\n%s\nwant two", describe(made))
	}

	begin = time.Now()
	must(t, s.delete(id))
	t.Logf("DeleteVolume took %s", time.Since(begin))
	if exists(t, &v1alpha1.ThinVolume{ObjectMeta: metav1.ObjectMeta{Name: id}}) {
		t.Error("DeleteVolume came back before the volume was gone")
	}
	deleted := writes(t, "thinvolumes", id)[len(made):]
	if len(deleted) != 2 || deleted[0].Verb != "delete" || deleted[1].Verb != "patch" {
		t.Errorf("writes from DeleteVolume to gone:\n%s\nwant two", describe(deleted))
	}
	must(t, s.delete(id))
	must(t, s.delete("../../etc/passwd"))
	expectRefusal(t, s.delete(""), codes.InvalidArgument, "volume_id")
}

// TestNoRequirement: without a preference the node with the most room is taken, and the same one when the request is repeated.
func TestNoRequirement(t *testing.T) {
	s := newScene(t, 2, 4*gibibyte)
	s.mustCreate(s.request(uniqueName("pvc"), gibibyte, s.nodes[0]))
	s.awaitCapacity(s.nodes[0], 3*gibibyte)
	request := s.request(uniqueName("pvc"), 3*gibibyte, nil)
	volume := s.mustCreate(request)
	if node := s.volume(volume.VolumeId).Spec.NodeName; node != s.nodes[1].name {
		t.Errorf("the volume is on %s, %s has more room", node, s.nodes[1].name)
	}
	if again := s.mustCreate(request); again.VolumeId != volume.VolumeId {
		t.Errorf("repeated, the request gave %s and not %s", again.VolumeId, volume.VolumeId)
	}
	_, err := s.create(s.request(uniqueName("pvc"), 3*gibibyte+1, nil))
	expectRefusal(t, err, codes.ResourceExhausted, s.pool)
	_, err = s.create(s.request(uniqueName("pvc"), 5*gibibyte, nil))
	expectRefusal(t, err, codes.OutOfRange, "capacity_range.required_bytes", fmt.Sprint(5*gibibyte), fmt.Sprint(4*gibibyte))
}

// TestBadRequests: what is wrong with a request is named, with what is allowed.
func TestBadRequests(t *testing.T) {
	s := newScene(t, 1, 4*gibibyte)
	node := s.nodes[0]
	for name, bad := range map[string]struct {
		change func(*csi.CreateVolumeRequest)
		code   codes.Code
		words  []string
	}{
		"no name":          {func(r *csi.CreateVolumeRequest) { r.Name = "" }, codes.InvalidArgument, []string{"name"}},
		"control in name":  {func(r *csi.CreateVolumeRequest) { r.Name = "a\nb" }, codes.InvalidArgument, []string{"name", "control"}},
		"unknown key":      {func(r *csi.CreateVolumeRequest) { r.Parameters["csi-dm.io/colour"] = "blue" }, codes.InvalidArgument, []string{"csi-dm.io/colour", v1alpha1.ParameterPool, v1alpha1.ParameterMkfsOptions}},
		"unknown pool":     {func(r *csi.CreateVolumeRequest) { r.Parameters[v1alpha1.ParameterPool] = "missing" }, codes.InvalidArgument, []string{v1alpha1.ParameterPool, "missing", s.pool}},
		"hostile pool":     {func(r *csi.CreateVolumeRequest) { r.Parameters[v1alpha1.ParameterPool] = "../x" }, codes.InvalidArgument, []string{v1alpha1.ParameterPool, "../x"}},
		"mkfs option":      {func(r *csi.CreateVolumeRequest) { r.Parameters[v1alpha1.ParameterMkfsOptions] = "-F /dev/sda" }, codes.InvalidArgument, []string{v1alpha1.ParameterMkfsOptions, "-F"}},
		"file system":      {func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities[0].GetMount().FsType = "btrfs" }, codes.InvalidArgument, []string{"fs_type", "btrfs", "ext4", "xfs"}},
		"size 0":           {func(r *csi.CreateVolumeRequest) { r.CapacityRange.RequiredBytes = 0 }, codes.InvalidArgument, []string{"capacity_range.required_bytes", "greater than 0"}},
		"negative size":    {func(r *csi.CreateVolumeRequest) { r.CapacityRange.RequiredBytes = -1 }, codes.InvalidArgument, []string{"capacity_range.required_bytes", "-1"}},
		"limit below size": {func(r *csi.CreateVolumeRequest) { r.CapacityRange.LimitBytes = 5 }, codes.InvalidArgument, []string{"capacity_range.limit_bytes", "5"}},
		"limit in a block": {func(r *csi.CreateVolumeRequest) {
			r.CapacityRange = &csi.CapacityRange{RequiredBytes: gibibyte + 1, LimitBytes: gibibyte + 2}
		}, codes.OutOfRange, []string{"capacity_range.limit_bytes", "whole blocks"}},
		"too small": {func(r *csi.CreateVolumeRequest) { r.CapacityRange.RequiredBytes = 1 }, codes.OutOfRange, []string{"capacity_range.required_bytes", "ext4"}},
		"too large": {func(r *csi.CreateVolumeRequest) { r.CapacityRange.RequiredBytes = 1 << 60 }, codes.ResourceExhausted, []string{"capacity_range.required_bytes", fmt.Sprint(1 << 60), fmt.Sprint(4 * gibibyte), node.name}},
		"root mode": {func(r *csi.CreateVolumeRequest) { r.Parameters[v1alpha1.ParameterRootMode] = "u+w" }, codes.InvalidArgument, []string{v1alpha1.ParameterRootMode, "u+w", "octal"}},
		"readers of nothing": {func(r *csi.CreateVolumeRequest) {
			r.VolumeCapabilities[0].AccessMode.Mode = csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
		}, codes.InvalidArgument, []string{"access_mode", "MULTI_NODE_READER_ONLY", "SINGLE_NODE_WRITER", "with a data source"}},
		"two modes": {func(r *csi.CreateVolumeRequest) {
			r.VolumeCapabilities = append(r.VolumeCapabilities, blockCapability())
		}, codes.InvalidArgument, []string{"volume_capabilities[1].access_type", "a file system or a block device"}},
		"many nodes": {func(r *csi.CreateVolumeRequest) {
			r.VolumeCapabilities[0].AccessMode.Mode = csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
		}, codes.InvalidArgument, []string{"access_mode", "MULTI_NODE_MULTI_WRITER", "SINGLE_NODE_WRITER"}},
		"no capability":     {func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = nil }, codes.InvalidArgument, []string{"volume_capabilities"}},
		"source of no kind": {func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = &csi.VolumeContentSource{} }, codes.InvalidArgument, []string{"volume_content_source.type", "snapshot or volume"}},
		"hostile snapshot":  {func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = fromSnapshot("../../etc") }, codes.InvalidArgument, []string{"volume_content_source.snapshot.snapshot_id", "../../etc"}},
		"hostile volume":    {func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = fromVolume("a,ro") }, codes.InvalidArgument, []string{"volume_content_source.volume.volume_id", "a,ro"}},
		"snapshot's device": {func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = fromVolume("a.snapshot") }, codes.InvalidArgument, []string{"volume_content_source.volume.volume_id", ".snapshot"}},
		"unknown snapshot":  {func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = fromSnapshot("missing") }, codes.NotFound, []string{"volume_content_source", "missing"}},
		"unknown volume":    {func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = fromVolume("missing") }, codes.NotFound, []string{"volume_content_source", "missing"}},
		"other topology": {func(r *csi.CreateVolumeRequest) {
			r.AccessibilityRequirements.Preferred[0].Segments = map[string]string{"kubernetes.io/hostname": node.name}
		}, codes.InvalidArgument, []string{"accessibility_requirements.preferred", v1alpha1.TopologyKey}},
		"unknown node": {func(r *csi.CreateVolumeRequest) {
			r.AccessibilityRequirements.Preferred[0].Segments[v1alpha1.TopologyKey] = "nowhere"
		}, codes.ResourceExhausted, []string{"nowhere", "does not exist"}},
		"claim name": {func(r *csi.CreateVolumeRequest) {
			r.Parameters["csi.storage.k8s.io/pvc/namespace"] = string(make([]byte, 100))
		}, codes.InvalidArgument, []string{"spec.claim.namespace"}},
	} {
		t.Run(name, func(t *testing.T) {
			request := s.request(uniqueName("bad"), gibibyte, node)
			bad.change(request)
			_, err := s.create(request)
			expectRefusal(t, err, bad.code, bad.words...)
		})
	}
	s.expectNoVolumes("of refused requests")
}

// TestSameName: a request for something else under a name that is taken is refused; one that the volume satisfies gets it.
func TestSameName(t *testing.T) {
	s := newScene(t, 1, 20*gibibyte)
	name := uniqueName("pvc")
	made := s.mustCreate(s.request(name, 2*gibibyte, s.nodes[0]))
	for what, change := range map[string]func(*csi.CreateVolumeRequest){
		"larger":      func(r *csi.CreateVolumeRequest) { r.CapacityRange.RequiredBytes = 3 * gibibyte },
		"limited":     func(r *csi.CreateVolumeRequest) { r.CapacityRange = &csi.CapacityRange{LimitBytes: gibibyte} },
		"file system": func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities[0].GetMount().FsType = "xfs" },
		"options":     func(r *csi.CreateVolumeRequest) { r.Parameters[v1alpha1.ParameterMkfsOptions] = "-m 1" },
		"root mode":   func(r *csi.CreateVolumeRequest) { r.Parameters[v1alpha1.ParameterRootMode] = "0770" },
		"block":       func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities[0] = blockCapability() },
	} {
		request := s.request(name, 2*gibibyte, s.nodes[0])
		change(request)
		if _, err := s.create(request); status.Code(err) != codes.AlreadyExists {
			t.Errorf("%s: %v: want ALREADY_EXISTS", what, err)
		}
	}
	if again := s.mustCreate(s.request(name, 2*gibibyte-5, s.nodes[0])); again.VolumeId != made.VolumeId {
		t.Errorf("a request that the volume satisfies gave %s", again.VolumeId)
	}
	// A name that is no object's name is as good as any other.
	odd := s.request("Odd_Name/"+uniqueName("x"), gibibyte, s.nodes[0])
	first := s.mustCreate(odd)
	if second := s.mustCreate(odd); second.VolumeId != first.VolumeId {
		t.Errorf("the same odd name gave %s and %s", first.VolumeId, second.VolumeId)
	}
}

// TestRefusedByNode: what the node refuses is taken back and refused; for lack of room only after the capacity was lowered.
func TestRefusedByNode(t *testing.T) {
	for reason, code := range map[string]codes.Code{
		v1alpha1.ReasonNoSpace:      codes.ResourceExhausted,
		v1alpha1.ReasonPoolNotReady: codes.ResourceExhausted,
		v1alpha1.ReasonPoolFailed:   codes.ResourceExhausted,
		v1alpha1.ReasonInvalid:      codes.InvalidArgument,
	} {
		t.Run(reason, func(t *testing.T) {
			s := newScene(t, 1, 4*gibibyte)
			node := s.nodes[0]
			node.decide(func(volume *v1alpha1.ThinVolume) *metav1.Condition {
				if reason == v1alpha1.ReasonNoSpace {
					// The node knows better, and says so first.
					node.report(s.pool, 4*gibibyte, 3*gibibyte)
				}
				return refuses(reason)(volume)
			})
			_, err := s.create(s.request(uniqueName("pvc"), 2*gibibyte, node))
			expectRefusal(t, err, code, reason, node.name)
			if reason == v1alpha1.ReasonNoSpace {
				object, err := s.capacity(t.Context(), node)
				must(t, err)
				if object.Capacity.Value() > gibibyte {
					t.Errorf("at the refusal the capacity is still %s", object.Capacity)
				}
			}
			s.expectNoVolumes("after the refusal")
		})
	}
}

// TestNodeNotThere: a node that is not there, or goes while it is waited for, is given up at once, and its capacity is zero.
func TestNodeNotThere(t *testing.T) {
	for what, leave := range map[string]func(*standIn, bool){
		"node not ready":  func(s *standIn, back bool) { s.setReady(back) },
		"agent not ready": func(s *standIn, back bool) { s.setAgentReady(back) },
	} {
		t.Run(what, func(t *testing.T) {
			s := newScene(t, 1, 4*gibibyte)
			node := s.nodes[0]
			node.decide(sleeps)
			node.keep(true)
			name := uniqueName("pvc")
			answer := make(chan error, 1)
			go func() {
				_, err := s.create(s.request(name, gibibyte, node))
				answer <- err
			}()
			volume := s.awaitVolume(name, node)
			leave(node, false)
			begin := time.Now()
			select {
			case err := <-answer:
				expectRefusal(t, err, codes.ResourceExhausted, node.name, "not ready")
				t.Logf("given up after %s", time.Since(begin))
			case <-time.After(5 * time.Second):
				t.Fatal("the call still waits for the node")
			}
			object, err := s.capacity(t.Context(), node)
			must(t, err)
			if object.Capacity.Value() != 0 {
				t.Errorf("at the refusal the capacity is %s, want 0", object.Capacity)
			}
			must(t, suite.Get(t.Context(), client.ObjectKeyFromObject(volume), volume))
			if volume.DeletionTimestamp == nil {
				t.Error("the volume was not withdrawn")
			}
			_, err = s.create(s.request(uniqueName("pvc"), gibibyte, node))
			expectRefusal(t, err, codes.ResourceExhausted, node.name, "not ready")

			// Back, it sweeps what was withdrawn; the same request then waits for that, and gets a new volume.
			leave(node, true)
			node.decide(makes)
			node.keep(false)
			s.awaitCapacity(node, 3*gibibyte) // the withdrawn volume still counts
			must(t, suite.Patch(t.Context(), volume, merge(`{"metadata":{"labels":{"touched":"yes"}}}`)))
			again := s.mustCreate(s.request(name, gibibyte, node))
			if uid := s.volume(again.VolumeId).UID; uid == volume.UID {
				t.Error("the withdrawn volume was given out")
			}
			s.awaitCapacity(node, 3*gibibyte)
		})
	}
}

// TestPatience: a node that seems well but does nothing is given up before the call's time is over.
func TestPatience(t *testing.T) {
	s := newScene(t, 1, 4*gibibyte)
	s.nodes[0].decide(sleeps)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	_, err := s.CreateVolume(ctx, s.request(uniqueName("pvc"), gibibyte, s.nodes[0]))
	expectRefusal(t, err, codes.ResourceExhausted, s.nodes[0].name)
	s.expectNoVolumes("after the call's time")
}

// TestLastRoom: of many requests at once exactly those are granted for which there is room, and no other is even tried.
func TestLastRoom(t *testing.T) {
	const count, fit = 40, 10
	s := newScene(t, 1, fit*gibibyte)
	var group sync.WaitGroup
	var mutex sync.Mutex
	var made int
	for range count {
		group.Go(func() {
			_, err := s.create(s.request(uniqueName("pvc"), gibibyte, s.nodes[0]))
			mutex.Lock()
			defer mutex.Unlock()
			if err == nil {
				made++
				return
			}
			expectRefusal(t, err, codes.ResourceExhausted, "required_bytes")
		})
	}
	group.Wait()
	var volumes v1alpha1.ThinVolumeList
	must(t, suite.List(t.Context(), &volumes, client.MatchingFields{"spec.poolName": s.pool}))
	if made != fit || len(volumes.Items) != fit {
		t.Errorf("%d requests were granted, %d volumes exist, want %d", made, len(volumes.Items), fit)
	}
	s.awaitCapacity(s.nodes[0], 0)
	// Each grant is one create: none was tried and taken back.
	creates := 0
	for _, w := range writes(t, "thinvolumes", "") {
		for i := range volumes.Items {
			if w.Verb == "create" && w.ObjectRef.Name == volumes.Items[i].Name {
				creates++
			}
		}
	}
	if creates != fit {
		t.Errorf("%d creates for %d volumes", creates, fit)
	}
}

// TestOtherReplica: a request whose replica ends is taken up by another one and made once.
func TestOtherReplica(t *testing.T) {
	s := newScene(t, 1, 4*gibibyte)
	other := startReplica(t)
	node := s.nodes[0]
	node.decide(sleeps)
	name := uniqueName("pvc")
	answer := make(chan error, 1)
	go func() {
		_, err := s.create(s.request(name, gibibyte, node))
		answer <- err
	}()
	volume := s.awaitVolume(name, node)
	s.stop()
	if err := <-answer; status.Code(err) == codes.OK || status.Code(err) == codes.ResourceExhausted {
		t.Fatalf("the call on the replica that ended: %v", err)
	}
	node.decide(makes)
	must(t, suite.Patch(t.Context(), volume, merge(`{"metadata":{"labels":{"touched":"yes"}}}`)))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	response, err := other.CreateVolume(ctx, s.request(name, gibibyte, node))
	must(t, err)
	if got := s.volume(response.Volume.VolumeId); got.UID != volume.UID {
		t.Error("the other replica made another volume")
	}
	s.replica = other
}

// TestOtherNode: a request that comes again for another node leaves nothing on the first one, unless a PersistentVolume uses it.
func TestOtherNode(t *testing.T) {
	s := newScene(t, 2, 4*gibibyte)
	name := uniqueName("pvc")
	first := s.mustCreate(s.request(name, gibibyte, s.nodes[0]))
	second := s.mustCreate(s.request(name, gibibyte, s.nodes[1]))
	awaitGone(t, &v1alpha1.ThinVolume{ObjectMeta: metav1.ObjectMeta{Name: first.VolumeId}})
	persistent := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:    corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: v1alpha1.DriverName, VolumeHandle: second.VolumeId,
			}},
		},
	}
	must(t, suite.Create(t.Context(), persistent))
	t.Cleanup(func() { remove(t, persistent) })
	_, err := s.create(s.request(name, gibibyte, s.nodes[0]))
	expectRefusal(t, err, codes.AlreadyExists, second.VolumeId, name)
	if volume := s.volume(second.VolumeId); volume.DeletionTimestamp != nil {
		t.Error("the volume that a PersistentVolume uses was deleted")
	}
}
