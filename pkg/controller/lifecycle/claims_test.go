package lifecycle

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// TestClaimNews: each reason once when it appears or changes, once when nothing is wrong any more, and nothing of what was wrong
// before this process began.
func TestClaimNews(t *testing.T) {
	c := &Claims{}
	now := time.Now()
	step := func(volume, pool string, since time.Time, want ...string) {
		t.Helper()
		for range 2 { // a resync says nothing anew
			var got []string
			for _, n := range c.news("v", ailment{what: "volume", reason: volume, since: since}, ailment{what: "pool", reason: pool, since: since}) {
				got = append(got, n.reason)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q and %q: %q is told, want %q", volume, pool, got, want)
			}
			want = nil
		}
	}
	step("", v1alpha1.ReasonSpaceLow, now.Add(-time.Hour))
	step("", v1alpha1.ReasonSpaceCritical, now.Add(-time.Hour), v1alpha1.ReasonSpaceCritical)
	step(v1alpha1.ReasonFileSystemErrors, v1alpha1.ReasonSpaceCritical, now, v1alpha1.ReasonFileSystemErrors)
	step("", v1alpha1.ReasonSpaceCritical, now, v1alpha1.ReasonRecovered)
	step("", "", now, v1alpha1.ReasonRecovered)
	step("", "", now)
	if len(c.told) != 0 {
		t.Errorf("what is well is remembered: %v", c.told)
	}
	step(v1alpha1.ReasonVolumeLost, v1alpha1.ReasonPoolFailed, now, v1alpha1.ReasonVolumeLost, v1alpha1.ReasonPoolFailed)
	c.forget("v")
	step("", "", now)
}

// TestAilmentOfPart: the pool's health goes before its space, and of the two spaces the one that is nearer to its end.
func TestAilmentOfPart(t *testing.T) {
	condition := func(kind, reason string) metav1.Condition {
		status := metav1.ConditionFalse
		if reason == v1alpha1.ReasonHealthy || reason == v1alpha1.ReasonSufficient {
			status = metav1.ConditionTrue
		}
		return metav1.Condition{Type: kind, Status: status, Reason: reason}
	}
	for _, c := range []struct{ health, data, metadata, want string }{
		{v1alpha1.ReasonHealthy, v1alpha1.ReasonSufficient, v1alpha1.ReasonSufficient, ""},
		{v1alpha1.ReasonHealthy, v1alpha1.ReasonSpaceLow, v1alpha1.ReasonSufficient, v1alpha1.ReasonSpaceLow},
		{v1alpha1.ReasonHealthy, v1alpha1.ReasonSpaceLow, v1alpha1.ReasonSpaceCritical, v1alpha1.ReasonSpaceCritical},
		{v1alpha1.ReasonHealthy, v1alpha1.ReasonSpaceFull, v1alpha1.ReasonSpaceCritical, v1alpha1.ReasonSpaceFull},
		{v1alpha1.ReasonPoolOutOfDataSpace, v1alpha1.ReasonSpaceFull, v1alpha1.ReasonSufficient, v1alpha1.ReasonPoolOutOfDataSpace},
	} {
		part := &v1alpha1.NodeThinPool{}
		part.Status.Conditions = []metav1.Condition{
			condition(v1alpha1.ConditionHealthy, c.health), condition(v1alpha1.ConditionDataSpace, c.data), condition(v1alpha1.ConditionMetadataSpace, c.metadata),
		}
		if got := ailmentOfPart(part).reason; got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	if got := ailmentOfPart(&v1alpha1.NodeThinPool{}).reason; got != "" {
		t.Errorf("a pool that has reported nothing: %q", got)
	}
}
