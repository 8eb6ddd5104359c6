package volumehealth

import (
	"slices"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// Status says how bad a problem is.
type Status string

// The statuses, in the order in which things get worse.
const (
	// Degraded: the volume can be used, but not for everything, or not as well.
	Degraded Status = "Degraded"
	// Inaccessible: the volume cannot be used.
	Inaccessible Status = "Inaccessible"
	// DataLoss: what was on the volume is gone, or is strongly suspected to be.
	DataLoss Status = "DataLoss"
)

// Problem is one thing that is wrong with a volume, or with a pool and so with all of its volumes.
type Problem struct {
	Status Status
	// Reason is one of v1alpha1's, in CamelCase.
	Reason string
	// Message is a sentence for people. It may carry figures; two problems with the same status and reason are the same.
	Message string
}

// New makes a problem of a reason.
func New(reason, message string) Problem {
	return Problem{Status: StatusOf(reason), Reason: reason, Message: message}
}

// milder and worse are the reasons that do not make a volume Inaccessible.
var (
	milder = []string{
		v1alpha1.ReasonPoolReadOnly, v1alpha1.ReasonPoolNeedsCheck, v1alpha1.ReasonPoolOutOfDataSpace,
		v1alpha1.ReasonPoolOutOfMetadataSpace, v1alpha1.ReasonFileSystemErrors,
	}
	worse = []string{v1alpha1.ReasonVolumeLost, v1alpha1.ReasonVolumeNotFound, v1alpha1.ReasonFileSystemMissing}
)

// StatusOf tells how bad a reason is. One that is not known, of a newer agent for example, is taken for Inaccessible.
func StatusOf(reason string) Status {
	switch {
	case slices.Contains(milder, reason):
		return Degraded
	case slices.Contains(worse, reason):
		return DataLoss
	}
	return Inaccessible
}

var severities = map[Status]int{Degraded: 1, Inaccessible: 2, DataLoss: 3}

// Sorted gives the problems with the worst first; those that are equally bad keep their order.
func Sorted(problems []Problem) []Problem {
	sorted := slices.Clone(problems)
	slices.SortStableFunc(sorted, func(a, b Problem) int { return severities[b.Status] - severities[a.Status] })
	return sorted
}
