package lifecycle

import (
	"strings"
	"testing"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// TestNews: bad news at once, each once; good news only after bad.
func TestNews(t *testing.T) {
	a := &Announcer{}
	part := &v1alpha1.NodeThinPool{ObjectMeta: metav1.ObjectMeta{Name: "default.node"}}
	step := func(status metav1.ConditionStatus, reason, message string, want int) {
		t.Helper()
		part.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: message}}
		if got := len(a.news(part)); got != want {
			t.Errorf("%s %s: %d announced, want %d", status, reason, got, want)
		}
	}
	step(metav1.ConditionFalse, v1alpha1.ReasonPending, "", 0)
	step(metav1.ConditionTrue, v1alpha1.ReasonReady, "", 0)
	step(metav1.ConditionFalse, v1alpha1.ReasonSignatureFound, "ext4", 1)
	step(metav1.ConditionFalse, v1alpha1.ReasonSignatureFound, "ext4", 0)
	step(metav1.ConditionFalse, v1alpha1.ReasonSignatureFound, "xfs", 1)
	step(metav1.ConditionTrue, v1alpha1.ReasonReady, "", 1)
	step(metav1.ConditionTrue, v1alpha1.ReasonReady, "in other words", 0)
	now := metav1.Now()
	part.DeletionTimestamp = &now
	step(metav1.ConditionFalse, v1alpha1.ReasonPoolFailed, "", 0)
	a.forget(part.Name)
	if len(a.announced) != 0 {
		t.Error("a pool that is gone is remembered")
	}
}

// TestNewsOfFigures: conditions whose messages carry figures are news when their reason changes, not with every figure.
func TestNewsOfFigures(t *testing.T) {
	a := &Announcer{}
	part := &v1alpha1.NodeThinPool{ObjectMeta: metav1.ObjectMeta{Name: "default.node"}}
	since := metav1.Now()
	for i, step := range []struct {
		status          metav1.ConditionStatus
		reason, message string
		want            int
	}{
		{metav1.ConditionTrue, v1alpha1.ReasonSufficient, "", 0},
		{metav1.ConditionFalse, v1alpha1.ReasonSpaceLow, "81 of 100", 1},
		{metav1.ConditionFalse, v1alpha1.ReasonSpaceLow, "82 of 100", 0},
		{metav1.ConditionFalse, v1alpha1.ReasonSpaceCritical, "91 of 100", 1},
		{metav1.ConditionFalse, v1alpha1.ReasonSpaceFull, "100 of 100", 1},
		{metav1.ConditionUnknown, v1alpha1.ReasonPoolFailed, "no figures", 0},
		{metav1.ConditionFalse, v1alpha1.ReasonSpaceFull, "100 of 100", 0},
		{metav1.ConditionTrue, v1alpha1.ReasonSufficient, "", 1},
	} {
		part.Status.Conditions = []metav1.Condition{{
			Type: v1alpha1.ConditionDataSpace, Status: step.status, Reason: step.reason, Message: step.message, LastTransitionTime: since,
		}}
		if got := len(a.news(part)); got != step.want {
			t.Errorf("step %d, %s %s: %d announced, want %d", i, step.reason, step.message, got, step.want)
		}
	}
}

// TestNoteOf: however long a condition's message is, the event has a note that the API server takes.
func TestNoteOf(t *testing.T) {
	for _, short := range []string{"", "a", strings.Repeat("a", 1024)} {
		if got := noteOf(short); got != short {
			t.Errorf("%d bytes became %d", len(short), len(got))
		}
	}
	for offset := range 3 {
		got := noteOf(strings.Repeat("a", offset) + strings.Repeat("…", 400))
		if len(got) > 1024 || len(got) < 1000 || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
			t.Errorf("a note of %d bytes: %q", len(got), got)
		}
	}
}
