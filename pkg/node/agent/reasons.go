package agent

import (
	"errors"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// reasonOf lists the conditions' reasons for the engine's errors; the first match counts.
var reasonOf = []struct {
	err    error
	reason string
	// final: another attempt ends the same way until the object changes.
	final bool
}{
	{thinpool.ErrInvalid, v1alpha1.ReasonInvalid, true},
	{thinpool.ErrVolumeExists, v1alpha1.ReasonInvalid, true},
	{thinpool.ErrNoSpace, v1alpha1.ReasonNoSpace, true},
	{thinpool.ErrSnapshotBudget, v1alpha1.ReasonNoSpace, true},
	{thinpool.ErrRegistryFull, v1alpha1.ReasonNoSpace, true},
	// The kernel tells of a lost write once: another attempt would succeed, and nobody would know.
	{thinpool.ErrSyncFailed, v1alpha1.ReasonWritesLost, true},
	{thinpool.ErrSignatureFound, v1alpha1.ReasonSignatureFound, false},
	{thinpool.ErrForeignPool, v1alpha1.ReasonSourceChanged, false},
	{thinpool.ErrSourceChanged, v1alpha1.ReasonSourceChanged, false},
	{thinpool.ErrDeviceNotFound, v1alpha1.ReasonDeviceNotFound, false},
	{thinpool.ErrDeviceInUse, v1alpha1.ReasonDeviceInUse, false},
	{thinpool.ErrFormatNewer, v1alpha1.ReasonPoolFailed, false},
	{thinpool.ErrPoolDamaged, v1alpha1.ReasonPoolFailed, false},
	{thinpool.ErrPoolFailed, v1alpha1.ReasonPoolFailed, false},
	{thinpool.ErrVolumeNotFound, v1alpha1.ReasonVolumeNotFound, true},
	{thinpool.ErrVolumeInUse, v1alpha1.ReasonVolumeInUse, false},
	{thinpool.ErrPoolClosed, v1alpha1.ReasonPoolNotReady, false},
	{pools.ErrNotOpen, v1alpha1.ReasonPoolNotReady, false},
}

// reason gives the condition's reason for an error, and whether it is of any use to try again before something changes.
func reason(err error) (reason string, final bool) {
	for _, entry := range reasonOf {
		if errors.Is(err, entry.err) {
			return entry.reason, entry.final
		}
	}
	return v1alpha1.ReasonFailed, false
}

// maximumMessage is the longest message that a condition may have, in bytes (metav1.Condition).
const maximumMessage = 32768

func message(err error) string {
	text := err.Error()
	if len(text) > maximumMessage {
		text = text[:maximumMessage]
	}
	return text
}
