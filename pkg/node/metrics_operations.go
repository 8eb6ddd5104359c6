package node

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// operations measures what the pools do for volumes: the storage's own share of what a claim or a pod waits for.
type operations struct{ seconds *prometheus.HistogramVec }

func newOperations(registry prometheus.Registerer) *operations {
	o := &operations{seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "csi_dm_pool_operation_seconds",
		Help:    "How long the pool took for an operation on a volume, without anything of Kubernetes.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"pool", "operation", "result"})}
	registry.MustRegister(o.seconds)
	return o
}

// measure gives a pool that does the same, measured.
func (o *operations) measure(name string, pool pools.Pool) pools.Pool {
	return &measuredPool{Pool: pool, name: name, operations: o}
}

type measuredPool struct {
	pools.Pool
	name       string
	operations *operations
}

// observe is to be deferred with the time of the operation's begin.
func (p *measuredPool) observe(operation string, begin time.Time, err *error) {
	result := "success"
	if *err != nil {
		result = "failure"
	}
	p.operations.seconds.WithLabelValues(p.name, operation, result).Observe(time.Since(begin).Seconds())
}

// CreateVolume is part of pools.Pool.
func (p *measuredPool) CreateVolume(ctx context.Context, spec thinpool.VolumeSpec) (_ thinpool.Volume, err error) {
	defer p.observe("create", time.Now(), &err)
	return p.Pool.CreateVolume(ctx, spec)
}

// GrowVolume is part of pools.Pool.
func (p *measuredPool) GrowVolume(ctx context.Context, name string, size int64) (_ thinpool.Volume, err error) {
	defer p.observe("grow", time.Now(), &err)
	return p.Pool.GrowVolume(ctx, name, size)
}

// DeleteVolume is part of pools.Pool.
func (p *measuredPool) DeleteVolume(ctx context.Context, name string) (err error) {
	defer p.observe("delete", time.Now(), &err)
	return p.Pool.DeleteVolume(ctx, name)
}
