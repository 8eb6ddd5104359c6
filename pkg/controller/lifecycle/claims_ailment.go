package lifecycle

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
	"github.com/csi-dm/csi-dm/pkg/volumehealth"
)

// ailment is what is wrong with something, as the owner of a claim is told. The reason is empty where nothing is.
type ailment struct {
	// what it is about.
	what            string
	reason, message string
	since           time.Time
}

// ailmentOfVolume is the worst that is wrong with a volume alone.
func ailmentOfVolume(volume *v1alpha1.ThinVolume) ailment {
	a := ailment{what: fmt.Sprintf("volume %s on node %s", volume.Name, volume.Spec.NodeName)}
	problems := volumehealth.Sorted(view.OfVolume(volume))
	if len(problems) == 0 {
		return a
	}
	a.reason, a.message = problems[0].Reason, fmt.Sprintf("%s: %s", problems[0].Status, problems[0].Message)
	for _, kind := range []string{v1alpha1.ConditionHealthy, v1alpha1.ConditionReady} {
		if condition := meta.FindStatusCondition(volume.Status.Conditions, kind); condition != nil && condition.Reason == a.reason {
			a.since = condition.LastTransitionTime.Time
		}
	}
	return a
}

// ailmentOfPart is what is wrong with a pool on a node and concerns those that have volumes in it: that it does not serve them
// as it should, or that its space comes to its end.
func ailmentOfPart(part *v1alpha1.NodeThinPool) ailment {
	a := ailment{what: fmt.Sprintf("pool %s on node %s", part.Spec.PoolName, part.Spec.NodeName)}
	for _, kind := range []string{v1alpha1.ConditionHealthy, v1alpha1.ConditionDataSpace, v1alpha1.ConditionMetadataSpace} {
		condition := meta.FindStatusCondition(part.Status.Conditions, kind)
		if condition == nil || condition.Status != metav1.ConditionFalse {
			continue
		}
		if a.reason == "" || spaceSeverity[condition.Reason] > spaceSeverity[a.reason] && spaceSeverity[a.reason] > 0 {
			a.reason, a.message, a.since = condition.Reason, condition.Message, condition.LastTransitionTime.Time
		}
	}
	return a
}

// spaceSeverity orders the reasons of the conditions of space.
var spaceSeverity = map[string]int{v1alpha1.ReasonSpaceLow: 1, v1alpha1.ReasonSpaceCritical: 2, v1alpha1.ReasonSpaceFull: 3}
