//go:build e2e

package bench

import (
	"sort"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// histogram is how often something took how long: counts of what took at most as many seconds.
type histogram struct {
	buckets map[float64]float64
	count   float64
	seconds float64
}

// storage is what the agents of all nodes say of the storage's own part so far, by what it was.
type storage map[string]histogram

// What is looked at: a metric of the agent, the label that tells what was done, and that label's values.
var storageMetrics = []struct {
	metric, label string
	values        []string
}{
	{"csi_dm_pool_operation_seconds", "operation", []string{"create", "delete"}},
	{"csi_dm_grpc_server_handling_seconds", "method", []string{"NodeStageVolume", "NodePublishVolume"}},
}

func (r *clusterRun) readStorage() storage {
	r.t.Helper()
	all := storage{}
	for _, node := range r.nodes {
		found := r.agentMetrics(r.ctx, node)
		for _, wanted := range storageMetrics {
			for _, metric := range found[wanted.metric].GetMetric() {
				for _, value := range wanted.values {
					if labelsOf(metric)[wanted.label] == value {
						all[value] = all[value].plus(metric.GetHistogram(), 1)
					}
				}
			}
		}
	}
	return all
}

func (h histogram) plus(more *dto.Histogram, sign float64) histogram {
	sum := histogram{buckets: map[float64]float64{}, count: h.count + sign*float64(more.GetSampleCount()), seconds: h.seconds + sign*more.GetSampleSum()}
	for bound, count := range h.buckets {
		sum.buckets[bound] = count
	}
	for _, bucket := range more.GetBucket() {
		sum.buckets[bucket.GetUpperBound()] += sign * float64(bucket.GetCumulativeCount())
	}
	return sum
}

// since is what came after an earlier reading.
func (h histogram) since(before histogram) histogram {
	later := histogram{buckets: map[float64]float64{}, count: h.count - before.count, seconds: h.seconds - before.seconds}
	for bound, count := range h.buckets {
		later.buckets[bound] = count - before.buckets[bound]
	}
	return later
}

// quantile is the time that at least the share q did not exceed, as far as the buckets tell it: within one they are taken for
// evenly spread.
func (h histogram) quantile(q float64) time.Duration {
	bounds := make([]float64, 0, len(h.buckets))
	for bound := range h.buckets {
		bounds = append(bounds, bound)
	}
	sort.Float64s(bounds)
	low, below := 0.0, 0.0
	for _, bound := range bounds {
		if count := h.buckets[bound]; count >= q*h.count && count > below {
			return time.Duration((low + (bound-low)*(q*h.count-below)/(count-below)) * float64(time.Second))
		}
		low, below = bound, h.buckets[bound]
	}
	return time.Duration(low * float64(time.Second))
}

// mean of all of them.
func (h histogram) mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return time.Duration(h.seconds / h.count * float64(time.Second))
}
