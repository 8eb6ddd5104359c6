//go:build e2e

package api

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/hostile"
)

// goodRequests has a row for each call of the Controller and the GroupController service: a request that is in order for a
// volume that exists. A call without a row fails the test.
var goodRequests = map[string]func(s *scene, volume string) proto.Message{
	"GetPluginInfo":                  nil, // these five have no field
	"GetPluginCapabilities":          nil,
	"Probe":                          nil,
	"ControllerGetCapabilities":      nil,
	"GroupControllerGetCapabilities": nil,
	"ControllerPublishVolume":        func(*scene, string) proto.Message { return &csi.ControllerPublishVolumeRequest{} }, // never offered
	"ControllerUnpublishVolume":      func(*scene, string) proto.Message { return &csi.ControllerUnpublishVolumeRequest{} },
	"CreateVolume":                   func(s *scene, _ string) proto.Message { return s.volumeRequest() },
	"DeleteVolume":                   func(_ *scene, id string) proto.Message { return &csi.DeleteVolumeRequest{VolumeId: id} },
	"ControllerGetVolume":            func(_ *scene, id string) proto.Message { return &csi.ControllerGetVolumeRequest{VolumeId: id} },
	"ControllerGetVolumeHealth":      func(_ *scene, id string) proto.Message { return &csi.ControllerGetVolumeHealthRequest{VolumeId: id} },
	"ListVolumes":                    func(*scene, string) proto.Message { return &csi.ListVolumesRequest{} },
	"ControllerListVolumeHealth":     func(*scene, string) proto.Message { return &csi.ControllerListVolumeHealthRequest{} },
	"ListSnapshots":                  func(*scene, string) proto.Message { return &csi.ListSnapshotsRequest{} },
	"GetSnapshot":                    func(*scene, string) proto.Message { return &csi.GetSnapshotRequest{SnapshotId: "snapshot-1"} },
	"DeleteSnapshot":                 func(*scene, string) proto.Message { return &csi.DeleteSnapshotRequest{SnapshotId: "snapshot-1"} },
	"GetVolumeGroupSnapshot": func(*scene, string) proto.Message {
		return &csi.GetVolumeGroupSnapshotRequest{GroupSnapshotId: "group-1"}
	},
	"DeleteVolumeGroupSnapshot": func(*scene, string) proto.Message {
		return &csi.DeleteVolumeGroupSnapshotRequest{GroupSnapshotId: "group-1"}
	},
	"ControllerModifyVolume": func(_ *scene, id string) proto.Message {
		return &csi.ControllerModifyVolumeRequest{VolumeId: id}
	},
	"CreateSnapshot": func(_ *scene, id string) proto.Message {
		return &csi.CreateSnapshotRequest{SourceVolumeId: id, Name: uniqueName("snapshot")}
	},
	"CreateVolumeGroupSnapshot": func(_ *scene, id string) proto.Message {
		return &csi.CreateVolumeGroupSnapshotRequest{SourceVolumeIds: []string{id}, Name: uniqueName("group")}
	},
	"ControllerExpandVolume": func(_ *scene, id string) proto.Message {
		return &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: &csi.CapacityRange{RequiredBytes: gibibyte}}
	},
	"ValidateVolumeCapabilities": func(s *scene, id string) proto.Message {
		request := s.volumeRequest()
		return &csi.ValidateVolumeCapabilitiesRequest{
			VolumeId: id, VolumeCapabilities: request.VolumeCapabilities, Parameters: request.Parameters,
			VolumeContext: map[string]string{v1alpha1.ParameterPool: s.pool},
		}
	},
	"GetCapacity": func(s *scene, _ string) proto.Message {
		request := s.volumeRequest()
		return &csi.GetCapacityRequest{
			VolumeCapabilities: request.VolumeCapabilities, Parameters: request.Parameters, AccessibleTopology: topology(s.nodes[0]),
		}
	},
}

// volumeRequest uses every parameter that a StorageClass can have.
func (s *scene) volumeRequest() *csi.CreateVolumeRequest {
	request := s.request(uniqueName("bad"), gibibyte, s.nodes[0])
	request.Parameters = map[string]string{v1alpha1.ParameterPool: s.pool, v1alpha1.ParameterMkfsOptions: "-m 1", v1alpha1.ParameterFSType: "ext4"}
	request.VolumeCapabilities[0].GetMount().MountFlags = []string{"noatime"}
	return request
}

// exceptions are bad requests for which the specification demands something else than InvalidArgument. An empty word stands for all;
// the first that fits counts.
var exceptions = []struct {
	method, field string
	kind          hostile.Kind
	codes         []codes.Code // none: it is not bad
}{
	{method: "DeleteVolume", kind: hostile.Identifier, codes: []codes.Code{codes.OK}}, // what cannot exist is deleted
	{method: "DeleteSnapshot", kind: hostile.Identifier, codes: []codes.Code{codes.OK}},
	{method: "DeleteVolumeGroupSnapshot", kind: hostile.Identifier, codes: []codes.Code{codes.OK}},
	{method: "ListSnapshots", kind: hostile.Identifier, codes: []codes.Code{codes.OK}}, // nothing is found
	{kind: hostile.Identifier, codes: []codes.Code{codes.InvalidArgument, codes.NotFound}},
	{kind: hostile.Token, codes: []codes.Code{codes.Aborted}},
	// A node that does not exist has no room.
	{field: "accessibility_requirements.preferred[0].segments[" + v1alpha1.TopologyKey + "]", codes: []codes.Code{codes.InvalidArgument, codes.ResourceExhausted}},
	{method: "GetCapacity", field: "accessible_topology.segments[" + v1alpha1.TopologyKey + "]", codes: []codes.Code{codes.OK}},
	{field: "accessibility_requirements", kind: hostile.Missing},
	{field: "accessibility_requirements.preferred", kind: hostile.Missing},
	{field: "accessibility_requirements.requisite", kind: hostile.Missing},
	{field: "accessible_topology", kind: hostile.Missing},
	{method: "CreateVolume", field: "capacity_range", kind: hostile.Missing},
	{method: "GetCapacity", field: "volume_capabilities", kind: hostile.Missing},
	{method: "ValidateVolumeCapabilities", field: "volume_capabilities", codes: []codes.Code{codes.InvalidArgument}},
	{method: "ValidateVolumeCapabilities", field: "volume_context[", kind: hostile.Key},
	// It is answered with what does not fit.
	{method: "ValidateVolumeCapabilities", codes: []codes.Code{codes.OK, codes.InvalidArgument}},
}

// expected gives the codes that a bad request may be answered with; none if it is not bad after all.
func expected(method string, bad hostile.Mutation) []codes.Code {
	if strings.Contains(bad.Field, ".segments[") && bad.Kind == hostile.Key || strings.HasPrefix(bad.Field, "accessibility_requirements.requisite[") {
		return nil // only the driver's own key counts, and with a preference nothing but that
	}
	if bad.Value == `""` && bad.Kind == hostile.Identifier && method != "ListSnapshots" && bad.Field != "snapshot_ids" {
		return []codes.Code{codes.InvalidArgument}
	}
	for _, e := range exceptions {
		if (e.method == "" || e.method == method) && (e.kind == "" || e.kind == bad.Kind) &&
			(e.field == "" || e.field == bad.Field || strings.HasSuffix(e.field, "[") && strings.HasPrefix(bad.Field, e.field)) {
			return e.codes
		}
	}
	return []codes.Code{codes.InvalidArgument}
}

// TestHostileCalls goes through every field of every call: what does not belong there is refused as the specification demands and
// with the field's name, and no object is made, changed or deleted.
func TestHostileCalls(t *testing.T) {
	s := newScene(t, 1, 20*gibibyte)
	request := s.volumeRequest()
	volume := s.mustCreate(request).VolumeId
	methods, err := hostile.Methods("Identity", "Controller", "GroupController")
	must(t, err)
	sent := 0
	for _, method := range methods {
		good, known := goodRequests[method.Name]
		if !known {
			t.Errorf("%s has no row in goodRequests", method.Name)
		}
		if !known || good == nil {
			continue
		}
		t.Run(method.Name, func(t *testing.T) {
			before := s.objects()
			for _, bad := range hostile.Mutations(good(s, volume), "/var/lib/kubelet") {
				want := expected(method.Name, bad)
				if len(want) == 0 {
					continue
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				response, err := method.Call(ctx, s.connection, bad.Request)
				cancel()
				if status.Code(err) == codes.Unimplemented {
					return // it is not offered: see TestOfferedCalls
				}
				sent++
				switch {
				case !slices.Contains(want, status.Code(err)):
					t.Errorf("%s: want %v: %.300v", bad, want, err)
				case status.Code(err) == codes.InvalidArgument && !bad.NamesField(err.Error()):
					t.Errorf("%s: the field is not named: %.300v", bad, err)
				case err != nil && len(err.Error()) > 5000:
					t.Errorf("%s: the refusal has %d bytes", bad, len(err.Error()))
				}
				if valid, ok := response.(*csi.ValidateVolumeCapabilitiesResponse); ok && valid.GetConfirmed() != nil {
					t.Errorf("%s: confirmed", bad)
				}
			}
			if after := s.objects(); !reflect.DeepEqual(before, after) {
				t.Errorf("something was left: %v became %v", before, after)
			}
		})
	}
	if sent < 250 {
		t.Errorf("only %d requests were sent", sent)
	}
	t.Logf("%d requests were answered", sent)
}

// TestOfferedCalls: a call is answered if and only if the capabilities offer it.
func TestOfferedCalls(t *testing.T) {
	s := newScene(t, 1, 4*gibibyte)
	response, err := s.ControllerGetCapabilities(t.Context(), &csi.ControllerGetCapabilitiesRequest{})
	must(t, err)
	offered := map[string]bool{}
	for _, capability := range response.Capabilities {
		offered[capability.GetRpc().GetType().String()] = true
	}
	plugin, err := csi.NewIdentityClient(s.connection).GetPluginCapabilities(t.Context(), &csi.GetPluginCapabilitiesRequest{})
	must(t, err)
	for _, capability := range plugin.Capabilities {
		offered[capability.GetService().GetType().String()] = true
	}
	methods, err := hostile.Methods("Controller", "GroupController")
	must(t, err)
	for _, method := range methods {
		needed, optional := map[string]string{
			"ControllerPublishVolume": "PUBLISH_UNPUBLISH_VOLUME", "ControllerUnpublishVolume": "PUBLISH_UNPUBLISH_VOLUME",
			"CreateVolume": "CREATE_DELETE_VOLUME", "DeleteVolume": "CREATE_DELETE_VOLUME", "ListVolumes": "LIST_VOLUMES", "GetCapacity": "GET_CAPACITY",
			"CreateSnapshot": "CREATE_DELETE_SNAPSHOT", "DeleteSnapshot": "CREATE_DELETE_SNAPSHOT", "ListSnapshots": "LIST_SNAPSHOTS", "GetSnapshot": "GET_SNAPSHOT",
			"ControllerExpandVolume": "EXPAND_VOLUME", "ControllerGetVolume": "GET_VOLUME", "ControllerModifyVolume": "MODIFY_VOLUME",
			"ControllerGetVolumeHealth": "GET_VOLUME_HEALTH", "ControllerListVolumeHealth": "LIST_VOLUME_HEALTH",
			"GroupControllerGetCapabilities": "GROUP_CONTROLLER_SERVICE", "CreateVolumeGroupSnapshot": "GROUP_CONTROLLER_SERVICE",
			"DeleteVolumeGroupSnapshot": "GROUP_CONTROLLER_SERVICE", "GetVolumeGroupSnapshot": "GROUP_CONTROLLER_SERVICE",
		}[method.Name]
		_, err := method.Call(t.Context(), s.connection, method.NewRequest())
		if answered := status.Code(err) != codes.Unimplemented; answered != (!optional || offered[needed]) {
			t.Errorf("%s: answered is %t, offered is %t: %v", method.Name, answered, offered[needed], err)
		}
	}
}

// objects are the driver's own, of every kind that it has, by name, with their generation and whether they are being deleted.
func (s *scene) objects() map[string]string {
	s.Helper()
	found := map[string]string{}
	for kind := range suite.Scheme().KnownTypes(v1alpha1.GroupVersion) {
		if !strings.HasPrefix(kind, "Thin") && !strings.HasPrefix(kind, "NodeThin") || strings.HasSuffix(kind, "List") {
			continue
		}
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
		must(s.T, suite.List(s.Context(), list, &client.ListOptions{}))
		for _, item := range list.Items {
			found[kind+" "+item.GetName()] = fmt.Sprintf("%s %d %v", item.GetUID(), item.GetGeneration(), item.GetDeletionTimestamp())
		}
	}
	if len(found) < 3 {
		s.Errorf("only %v were found", found)
	}
	return found
}
