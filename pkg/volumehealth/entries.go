package volumehealth

import (
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// What Kubernetes takes, in bytes and pieces (VolumeHealthCondition in k8s.io/api/core/v1, StorageHealthCondition in
// storage/v1): it refuses the whole of an answer of which a part is beyond that.
const (
	longestReason  = 256
	longestMessage = 1024
	mostEntries    = 16
)

var volumeStatuses = map[Status]csi.VolumeHealthErrorType{
	Degraded:     csi.VolumeHealthErrorType_DEGRADED,
	Inaccessible: csi.VolumeHealthErrorType_INACCESSIBLE,
	DataLoss:     csi.VolumeHealthErrorType_DATA_LOSS,
}

// Volume is a volume's health for an answer of CSI's calls: the worst first, no status and reason twice.
func Volume(id string, problems []Problem) *csi.VolumeHealth {
	health := &csi.VolumeHealth{VolumeId: id}
	for _, problem := range distinct(problems) {
		health.HealthStatuses = append(health.HealthStatuses, &csi.VolumeHealth_VolumeHealthEntry{
			Status: volumeStatuses[problem.Status], Reason: problem.Reason, Message: problem.Message,
		})
	}
	return health
}

// Backends are the problems of a node's pools. CSI knows two statuses of them; what makes a pool's volumes unusable is the
// worse one.
func Backends(problems []Problem) []*csi.NodeGetStorageHealthResponse_StorageBackendHealth {
	backends := make([]*csi.NodeGetStorageHealthResponse_StorageBackendHealth, 0, len(problems))
	for _, problem := range distinct(problems) {
		status := csi.StorageHealthErrorType_STORAGE_UNREACHABLE
		if problem.Status == Degraded {
			status = csi.StorageHealthErrorType_STORAGE_DEGRADED
		}
		backends = append(backends, &csi.NodeGetStorageHealthResponse_StorageBackendHealth{
			Status: status, Reason: problem.Reason, Message: problem.Message,
		})
	}
	return backends
}

// distinct joins the messages of problems with the same status and reason, and keeps to what Kubernetes takes.
func distinct(problems []Problem) []Problem {
	var result []Problem
	for _, problem := range Sorted(problems) {
		problem.Reason = shortened(problem.Reason, longestReason)
		same := slices.IndexFunc(result, func(p Problem) bool { return p.Status == problem.Status && p.Reason == problem.Reason })
		switch {
		case same >= 0:
			result[same].Message += "; " + problem.Message
		case len(result) < mostEntries:
			result = append(result, problem)
		}
	}
	for i := range result {
		result[i].Message = shortened(result[i].Message, longestMessage)
	}
	return result
}
