package volumehealth

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/container-storage-interface/spec/lib/go/csi"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// TestEntriesAreWhatKubernetesTakes: no status and reason twice, the worst first, nothing longer or more than allowed.
func TestEntriesAreWhatKubernetesTakes(t *testing.T) {
	problems := []Problem{
		New(v1alpha1.ReasonPoolOutOfDataSpace, "full"), New(v1alpha1.ReasonVolumeLost, strings.Repeat("ä", 1000)),
		New(v1alpha1.ReasonPoolOutOfDataSpace, "still full"), New(strings.Repeat("X", 300), "a reason that is too long"),
	}
	for i := range 30 {
		problems = append(problems, New(strings.Repeat("Y", i+1), "one of many"))
	}
	health := Volume("v", problems)
	if health.GetVolumeId() != "v" || len(health.GetHealthStatuses()) != 16 {
		t.Fatalf("%q with %d entries", health.GetVolumeId(), len(health.GetHealthStatuses()))
	}
	seen := map[string]bool{}
	for i, entry := range health.GetHealthStatuses() {
		if key := entry.GetStatus().String() + entry.GetReason(); seen[key] {
			t.Errorf("%s is there twice", key)
		} else {
			seen[key] = true
		}
		if len(entry.GetReason()) > 256 || len(entry.GetMessage()) > 1024 || !utf8.ValidString(entry.GetMessage()) {
			t.Errorf("entry %d: a reason of %d bytes, a message of %d", i, len(entry.GetReason()), len(entry.GetMessage()))
		}
	}
	if first := health.GetHealthStatuses()[0]; first.GetStatus() != csi.VolumeHealthErrorType_DATA_LOSS || first.GetReason() != v1alpha1.ReasonVolumeLost {
		t.Errorf("the first is %v", first)
	}
}

func TestBackends(t *testing.T) {
	backends := Backends([]Problem{
		New(v1alpha1.ReasonPoolOutOfDataSpace, "pool a: full"), New(v1alpha1.ReasonPoolFailed, "pool b: failed"), New(v1alpha1.ReasonPoolOutOfDataSpace, "pool c: full"),
	})
	if len(backends) != 2 {
		t.Fatalf("%d backends: %v", len(backends), backends)
	}
	if b := backends[0]; b.GetStatus() != csi.StorageHealthErrorType_STORAGE_UNREACHABLE || b.GetReason() != v1alpha1.ReasonPoolFailed {
		t.Errorf("%v", b)
	}
	if b := backends[1]; b.GetStatus() != csi.StorageHealthErrorType_STORAGE_DEGRADED || b.GetMessage() != "pool a: full; pool c: full" {
		t.Errorf("%v", b)
	}
	if len(Backends(nil)) != 0 {
		t.Error("nothing is wrong, and yet something is told")
	}
}

// TestConditionAndBack: what one side writes the other side reads.
func TestConditionAndBack(t *testing.T) {
	if c := Condition(nil, 3); c.Status != metav1.ConditionTrue || c.Type != v1alpha1.ConditionHealthy || c.ObservedGeneration != 3 || c.Message == "" {
		t.Errorf("%+v", c)
	}
	written := Condition([]Problem{New(v1alpha1.ReasonFileSystemErrors, "two errors"), New(v1alpha1.ReasonVolumeLost, "lost")}, 1)
	problem, found := FromCondition([]metav1.Condition{written})
	if !found || problem.Status != DataLoss || problem.Reason != v1alpha1.ReasonVolumeLost || problem.Message != "lost; FileSystemErrors: two errors" {
		t.Errorf("%+v", problem)
	}
	if _, found := FromCondition([]metav1.Condition{Condition(nil, 1)}); found {
		t.Error("a healthy condition is a problem")
	}
	if _, found := FromCondition(nil); found {
		t.Error("no condition is a problem")
	}
}
