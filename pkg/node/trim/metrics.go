package trim

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// What became of a volume whose turn it was.
const (
	outcomeTrimmed    = "trimmed"
	outcomeNotMounted = "not_mounted"
	outcomeShared     = "shared"
	outcomeBusy       = "pool_busy"
	outcomeFailed     = "failed"
)

func outcomeOf(err error) string {
	switch {
	case err == nil:
		return outcomeTrimmed
	case errors.Is(err, errNotMounted), errors.Is(err, thinpool.ErrVolumeInactive), errors.Is(err, thinpool.ErrVolumeNotFound):
		return outcomeNotMounted
	case errors.Is(err, thinpool.ErrTrimShared):
		return outcomeShared
	case errors.Is(err, thinpool.ErrTrimBusy):
		return outcomeBusy
	}
	return outcomeFailed
}

// Metrics count what trims give back. A nil *Metrics counts nothing.
type Metrics struct {
	bytes, volumes *prometheus.CounterVec
}

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "csi_dm_trim_freed_bytes_total", Help: "Data space that pools got back from mounted file systems by the agent's trims.",
		}, []string{"pool"}),
		volumes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "csi_dm_trim_volumes_total", Help: "Volumes whose turn to be trimmed it was, by what became of that: trimmed, not_mounted, shared, pool_busy, failed.",
		}, []string{"pool", "outcome"}),
	}
	return m, errors.Join(registry.Register(m.bytes), registry.Register(m.volumes))
}

func (m *Metrics) count(pool string, freed int64, outcome string) {
	if m == nil {
		return
	}
	m.bytes.WithLabelValues(pool).Add(float64(max(0, freed)))
	m.volumes.WithLabelValues(pool, outcome).Inc()
}
