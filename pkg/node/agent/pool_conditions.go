package agent

import (
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/monitor"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumehealth"
)

// Reasons that nobody but a person acts on.
const (
	reasonDeleting     = "Deleting"
	reasonBlockDevices = "BlockDevices"
)

// poolConditions are the conditions of an open pool. configErr is what came of applying the object's settings to it,
// orphaned are the names of the volumes that have no object.
func poolConditions(state thinpool.Status, configErr error, orphaned []string) []metav1.Condition {
	ready := readyCondition(state, unsettled(configErr))
	return []metav1.Condition{
		ready, admittingCondition(ready, state), productionCondition(state), growthCondition(state),
		spaceCondition(v1alpha1.ConditionDataSpace, "data", state.Data), spaceCondition(v1alpha1.ConditionMetadataSpace, "metadata", state.Metadata),
		budgetCondition(state), orphansCondition(orphaned), volumehealth.Condition(monitor.OfPool(state), 0),
	}
}

func conditionOf(kind string, status metav1.ConditionStatus, reason, format string, arguments ...any) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: fmt.Sprintf(format, arguments...)}
}

func readyCondition(state thinpool.Status, configErr error) metav1.Condition {
	failed := func(format string, arguments ...any) metav1.Condition {
		return conditionOf(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPoolFailed, format, arguments...)
	}
	switch {
	case state.Fault != "":
		return failed("%s", state.Fault)
	case state.Mode == thinpool.ModeReadOnly || state.Mode == thinpool.ModeFailed:
		return failed("The kernel holds the pool in mode %s.", state.Mode)
	case state.NeedsCheck:
		return failed("The pool's metadata needs a check.")
	case configErr != nil:
		// It goes on with the settings that it has; what is wrong with the new ones is said.
		why, _ := reason(configErr)
		return conditionOf(v1alpha1.ConditionReady, metav1.ConditionFalse, why, "%s", message(configErr))
	}
	return conditionOf(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady, "The pool is open and serves volumes.")
}

func admittingCondition(ready metav1.Condition, state thinpool.Status) metav1.Condition {
	switch {
	case ready.Status != metav1.ConditionTrue:
		return conditionOf(v1alpha1.ConditionAdmitting, metav1.ConditionFalse, v1alpha1.ReasonPoolNotReady, "The pool is not ready.")
	case !state.Admitting:
		return conditionOf(v1alpha1.ConditionAdmitting, metav1.ConditionFalse, refusalReason(state.AdmissionError), "%s", state.AdmissionReason)
	}
	return conditionOf(v1alpha1.ConditionAdmitting, metav1.ConditionTrue, v1alpha1.ReasonAdmittingVolume, "New volumes are accepted.")
}

// refusalReason is the reason of a pool that is ready and takes no new volume.
func refusalReason(err error) string {
	for _, entry := range []struct {
		err    error
		reason string
	}{
		{thinpool.ErrPoolFull, v1alpha1.ReasonPoolFull},
		{thinpool.ErrBelowMinFree, v1alpha1.ReasonBelowMinFree},
		{thinpool.ErrRegistryFull, v1alpha1.ReasonRegistryFull},
		{thinpool.ErrSnapshotBudget, v1alpha1.ReasonSnapshotsUsedUp},
		{thinpool.ErrThinIDs, v1alpha1.ReasonThinIDsUsedUp},
	} {
		if errors.Is(err, entry.err) {
			return entry.reason
		}
	}
	why, _ := reason(err)
	return why
}

// growthCondition says whether the pool has all the space that its source offers. Without it the pool goes on as it is.
func growthCondition(state thinpool.Status) metav1.Condition {
	if err := state.GrowthError; err != nil {
		why, _ := reason(err)
		return conditionOf(v1alpha1.ConditionGrown, metav1.ConditionFalse, why, "%s", message(err))
	}
	return conditionOf(v1alpha1.ConditionGrown, metav1.ConditionTrue, v1alpha1.ReasonAllTakenIn, "The pool has all the space that its source offers.")
}

func productionCondition(state thinpool.Status) metav1.Condition {
	if state.Loopback {
		return conditionOf(v1alpha1.ConditionProductionGrade, metav1.ConditionFalse, v1alpha1.ReasonLoopback,
			"The pool stands on a file behind a loop device: for trying out and for tests, not for production.")
	}
	return conditionOf(v1alpha1.ConditionProductionGrade, metav1.ConditionTrue, reasonBlockDevices, "The pool stands on block devices.")
}

// spaceReasons are the reasons for the states that are not well.
var spaceReasons = map[thinpool.SpaceState]string{
	thinpool.SpaceLow:      v1alpha1.ReasonSpaceLow,
	thinpool.SpaceCritical: v1alpha1.ReasonSpaceCritical,
	thinpool.SpaceFull:     v1alpha1.ReasonSpaceFull,
}

func spaceCondition(kind, what string, space thinpool.Space) metav1.Condition {
	if space.State == "" {
		return conditionOf(kind, metav1.ConditionUnknown, v1alpha1.ReasonPoolFailed, "The kernel gives no figures of the pool's %s space.", what)
	}
	if why, short := spaceReasons[space.State]; short {
		return conditionOf(kind, metav1.ConditionFalse, why, "%s of %s of the %s space are in use.", bytes(space.Used), bytes(space.Total), what)
	}
	return conditionOf(kind, metav1.ConditionTrue, v1alpha1.ReasonSufficient, "The %s space suffices.", what)
}

func budgetCondition(state thinpool.Status) metav1.Condition {
	switch {
	case state.SnapshotBudget == 0:
		return conditionOf(v1alpha1.ConditionSnapshotBudget, metav1.ConditionFalse, v1alpha1.ReasonSnapshotsUsedUp,
			"The pool has made all snapshots that the kernel allows it in its life. Volumes are formatted one by one; snapshots and clones are refused.")
	case state.SnapshotBudget <= thinpool.LowSnapshotBudget:
		return conditionOf(v1alpha1.ConditionSnapshotBudget, metav1.ConditionFalse, v1alpha1.ReasonSnapshotsLow,
			"The pool can make %d more snapshots in its life. A volume with a file system costs one.", state.SnapshotBudget)
	}
	return conditionOf(v1alpha1.ConditionSnapshotBudget, metav1.ConditionTrue, v1alpha1.ReasonSufficient, "The pool has snapshots left.")
}

// notReadyConditions are the conditions of a pool that could not be opened or does not tell its state.
func notReadyConditions(err error) []metav1.Condition {
	why, _ := reason(err)
	conditions := []metav1.Condition{
		conditionOf(v1alpha1.ConditionReady, metav1.ConditionFalse, why, "%s", message(err)),
		conditionOf(v1alpha1.ConditionAdmitting, metav1.ConditionFalse, v1alpha1.ReasonPoolNotReady, "The pool is not ready."),
	}
	var opening *pools.NotOpenError
	if errors.As(err, &opening) && opening.Cause == nil {
		return conditions // nothing is known yet of what is in it
	}
	return append(conditions, volumehealth.Condition([]volumehealth.Problem{volumehealth.New(why, message(err))}, 0))
}
