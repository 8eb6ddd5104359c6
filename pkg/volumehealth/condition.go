package volumehealth

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// longestCondition is how much of a message goes into a condition, in bytes: far less than metav1.Condition allows, as a pool
// may have thousands of volumes.
const longestCondition = 2048

// Condition is v1alpha1.ConditionHealthy for the problems: the worst one's reason, and the messages of all.
func Condition(problems []Problem, generation int64) metav1.Condition {
	condition := metav1.Condition{
		Type: v1alpha1.ConditionHealthy, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonHealthy,
		Message: "Nothing is known to be wrong.", ObservedGeneration: generation,
	}
	if len(problems) == 0 {
		return condition
	}
	sorted := Sorted(problems)
	messages := make([]string, 0, len(sorted))
	for i, problem := range sorted {
		text := problem.Message
		if i > 0 {
			text = problem.Reason + ": " + text
		}
		messages = append(messages, text)
	}
	condition.Status, condition.Reason = metav1.ConditionFalse, sorted[0].Reason
	condition.Message = shortened(strings.Join(messages, "; "), longestCondition)
	return condition
}

// FromCondition gives the problem that an object's conditions tell of.
func FromCondition(conditions []metav1.Condition) (Problem, bool) {
	condition := meta.FindStatusCondition(conditions, v1alpha1.ConditionHealthy)
	if condition == nil || condition.Status != metav1.ConditionFalse {
		return Problem{}, false
	}
	return New(condition.Reason, condition.Message), true
}

// shortened cuts a text that has more than limit bytes between two characters.
func shortened(text string, limit int) string {
	const more = "…"
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len(more)], "") + more
}
