//go:build e2e

package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/volumehealth"
)

// ails has the node report of one of its volumes, with its agent's rights, what is wrong with it; no reason: nothing.
func (s *standIn) ails(volume string, reasons ...string) {
	s.t.Helper()
	var problems []volumehealth.Problem
	for _, reason := range reasons {
		problems = append(problems, volumehealth.New(reason, "the stand-in reports it"))
	}
	object := &v1alpha1.ThinVolume{}
	must(s.t, s.Get(context.Background(), client.ObjectKey{Name: volume}, object))
	before := object.DeepCopy()
	apimeta.SetStatusCondition(&object.Status.Conditions, volumehealth.Condition(problems, object.Generation))
	must(s.t, s.Status().Patch(context.Background(), object, client.MergeFrom(before)))
}

// awaitHealth waits until the controller gives a volume these statuses and reasons.
func (s *scene) awaitHealth(id string, want ...string) {
	s.Helper()
	await(s.T, "the health of "+id, func(ctx context.Context) string {
		response, err := s.ControllerGetVolumeHealth(ctx, &csi.ControllerGetVolumeHealthRequest{VolumeId: id})
		if err != nil {
			return err.Error()
		}
		if got := entriesOf(response.GetVolumeHealth()); response.GetVolumeHealth().GetVolumeId() != id || !slices.Equal(got, want) {
			return fmt.Sprintf("it is %q, want %q", got, want)
		}
		return ""
	})
}

func entriesOf(health *csi.VolumeHealth) []string {
	var entries []string
	for _, entry := range health.GetHealthStatuses() {
		entries = append(entries, fmt.Sprint(entry.GetStatus(), " ", entry.GetReason()))
	}
	return entries
}

// TestControllerHealth: a volume's health is its own, its pool's and its node's.
func TestControllerHealth(t *testing.T) {
	s := newScene(t, 1, 10*gibibyte)
	node := s.nodes[0]
	id := s.mustCreate(s.request(uniqueName("pvc"), gibibyte, node)).VolumeId
	s.awaitHealth(id)
	node.ails(id, v1alpha1.ReasonFileSystemErrors)
	s.awaitHealth(id, "DEGRADED FileSystemErrors")
	node.reportConditions(s.pool, 10*gibibyte, 0, volumehealth.Condition([]volumehealth.Problem{volumehealth.New(v1alpha1.ReasonDeviceUnreadable, "/dev/sdx")}, 1))
	s.awaitHealth(id, "INACCESSIBLE DeviceUnreadable", "DEGRADED FileSystemErrors")
	node.setReady(false)
	s.awaitHealth(id, "INACCESSIBLE NodeNotReady", "INACCESSIBLE DeviceUnreadable", "DEGRADED FileSystemErrors")
	node.setReady(true)
	node.ails(id)
	node.reportConditions(s.pool, 10*gibibyte, 0, volumehealth.Condition(nil, 1))
	s.awaitHealth(id)
	// Its node does not find it in the pool any more.
	object := s.volume(id)
	before := object.DeepCopy()
	apimeta.SetStatusCondition(&object.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonVolumeNotFound, Message: "not in the pool"})
	must(t, node.Status().Patch(t.Context(), object, client.MergeFrom(before)))
	s.awaitHealth(id, "DATA_LOSS VolumeNotFound")
}

// TestControllerHealthRefusals: codes for what cannot be answered.
func TestControllerHealthRefusals(t *testing.T) {
	s := newScene(t, 1, 10*gibibyte)
	for id, want := range map[string]codes.Code{"": codes.InvalidArgument, "pvc-none": codes.NotFound, "../x\n": codes.NotFound} {
		if _, err := s.ControllerGetVolumeHealth(t.Context(), &csi.ControllerGetVolumeHealthRequest{VolumeId: id}); status.Code(err) != want {
			t.Errorf("volume %q: %v, want %s", id, err, want)
		}
	}
	for _, token := range []string{"invalid-token", "after:", "after:../x", "after:" + strings.Repeat("x", 10_000), "7"} {
		if _, err := s.ControllerListVolumeHealth(t.Context(), &csi.ControllerListVolumeHealthRequest{StartingToken: token}); status.Code(err) != codes.Aborted {
			t.Errorf("token %.20q: %v, want Aborted", token, err)
		}
	}
	_, err := s.ControllerListVolumeHealth(t.Context(), &csi.ControllerListVolumeHealthRequest{MaxEntries: -1})
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "max_entries") {
		t.Errorf("-1 entries: %v", err)
	}
}

// TestListVolumeHealth: only what is abnormal, in pages that hold each once, also when the last volume of a page has become well.
func TestListVolumeHealth(t *testing.T) {
	s := newScene(t, 1, 10*gibibyte)
	var abnormal []string
	for i := range 5 {
		id := s.mustCreate(s.request(uniqueName("pvc"), 64*mebibyte, s.nodes[0])).VolumeId
		if i != 2 {
			s.nodes[0].ails(id, v1alpha1.ReasonFileSystemErrors)
			s.awaitHealth(id, "DEGRADED FileSystemErrors")
			abnormal = append(abnormal, id)
		}
	}
	slices.Sort(abnormal)
	var listed []string
	request := &csi.ControllerListVolumeHealthRequest{MaxEntries: 2}
	for pages := 1; ; pages++ {
		response, err := s.ControllerListVolumeHealth(t.Context(), request)
		must(t, err)
		if len(response.Entries) > 2 {
			t.Errorf("page %d has %d entries", pages, len(response.Entries))
		}
		for _, entry := range response.Entries {
			if got := entriesOf(entry); !slices.Equal(got, []string{"DEGRADED FileSystemErrors"}) {
				t.Errorf("%s: %q", entry.VolumeId, got)
			}
			listed = append(listed, entry.VolumeId)
		}
		if request.StartingToken = response.NextToken; response.NextToken == "" {
			break
		}
		last := response.Entries[len(response.Entries)-1].VolumeId
		s.nodes[0].ails(last)
		s.awaitHealth(last)
	}
	if !slices.Equal(listed, abnormal) {
		t.Errorf("listed are %q, want %q", listed, abnormal)
	}
	all, err := s.ControllerListVolumeHealth(t.Context(), &csi.ControllerListVolumeHealthRequest{})
	must(t, err)
	if all.NextToken != "" || len(all.Entries) > len(abnormal) {
		t.Errorf("without a limit there is another page, or too much: %v", all)
	}
}

// claimedVolume makes a claim, and its volume as csi-provisioner would ask for it.
func (s *scene) claimedVolume(node *standIn) (claim *corev1.PersistentVolumeClaim, id string) {
	s.Helper()
	claim = &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: uniqueName("claim")},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: &s.class,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	must(s.T, suite.Create(s.Context(), claim))
	s.Cleanup(func() { remove(s.T, claim) })
	request := s.request("pvc-"+string(claim.UID), gibibyte, node)
	request.Parameters["csi.storage.k8s.io/pvc/name"] = claim.Name
	return claim, s.mustCreate(request).VolumeId
}

// claimEvents are the events on a claim whose reason is one of reasons: type, reason, and how often each was told.
func claimEvents(ctx context.Context, t *testing.T, claim *corev1.PersistentVolumeClaim) []string {
	t.Helper()
	var list eventsv1.EventList
	must(t, suite.List(ctx, &list, client.MatchingFields{"regarding.kind": "PersistentVolumeClaim", "regarding.name": claim.Name}))
	var told []string
	for _, event := range list.Items {
		if event.ReportingController == "csi-dm-controller" {
			told = append(told, event.Type+" "+event.Reason)
		}
		if event.Series != nil {
			told = append(told, fmt.Sprintf("%d times more", event.Series.Count))
		}
	}
	slices.Sort(told)
	return told
}

// TestClaimEvents: what becomes wrong with a volume or with its pool is told at the claim, once, and so is that it is well again.
func TestClaimEvents(t *testing.T) {
	s := newScene(t, 2, 10*gibibyte)
	node := s.nodes[0]
	claim, id := s.claimedVolume(node)
	elsewhere, _ := s.claimedVolume(s.nodes[1])
	expect := func(want ...string) {
		t.Helper()
		slices.Sort(want)
		await(t, fmt.Sprintf("the events %q", want), func(ctx context.Context) string {
			if got := claimEvents(ctx, t, claim); !slices.Equal(got, want) {
				return fmt.Sprintf("they are %q", got)
			}
			return ""
		})
	}
	node.ails(id, v1alpha1.ReasonFileSystemErrors)
	expect("Warning FileSystemErrors")
	awaitEvent(t, "PersistentVolumeClaim", claim.Name, corev1.EventTypeWarning, v1alpha1.ReasonFileSystemErrors, id, node.name)
	node.ails(id)
	expect("Warning FileSystemErrors", "Normal Recovered")

	space := func(reason string) metav1.Condition {
		condition := metav1.Condition{Type: v1alpha1.ConditionDataSpace, Status: metav1.ConditionFalse, Reason: reason, Message: "figures"}
		if reason == v1alpha1.ReasonSufficient {
			condition.Status = metav1.ConditionTrue
		}
		return condition
	}
	want := []string{"Warning FileSystemErrors", "Normal Recovered"}
	for i, reason := range []string{v1alpha1.ReasonSpaceLow, v1alpha1.ReasonSpaceCritical, v1alpha1.ReasonSpaceFull} {
		node.reportConditions(s.pool, 10*gibibyte, int64(8+i)*gibibyte, space(reason))
		want = append(want, "Warning "+reason)
		expect(want...)
		// Figures and usage change all the time: that is nothing to tell.
		node.reportConditions(s.pool, 10*gibibyte, int64(8+i)*gibibyte+mebibyte, space(reason))
		must(t, node.Status().Patch(t.Context(), s.volume(id), merge(fmt.Sprintf(`{"status":{"allocated":"%dMi"}}`, i+1))))
	}
	node.reportConditions(s.pool, 10*gibibyte, 0, space(v1alpha1.ReasonSufficient))
	want = append(want, "Normal Recovered")
	expect(want...)

	// Another controller takes over, and is told nothing new.
	s.stop()
	s.replica = startReplica(t)
	node.ails(id, v1alpha1.ReasonVolumeLost)
	want = append(want, "Warning VolumeLost")
	expect(want...)
	if told := claimEvents(t.Context(), t, elsewhere); len(told) != 0 {
		t.Errorf("a claim on another node was told %q", told)
	}
}
