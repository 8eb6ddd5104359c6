package node

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/csi-dm/csi-dm/pkg/node/pools"
)

// volumeCollector reads what the volumes map when it is asked for: a system call of some microseconds each. What they hold
// alone is dear to know, and in their objects' status.
type volumeCollector struct {
	set       *pools.Set
	allocated *prometheus.Desc
}

func newVolumeCollector(set *pools.Set) *volumeCollector {
	return &volumeCollector{set: set, allocated: prometheus.NewDesc("csi_dm_volume_allocated_bytes",
		"Pool space that a volume's data takes, what it shares included; of volumes that are staged.", []string{"pool", "volume"}, nil)}
}

// Describe is part of prometheus.Collector.
func (c *volumeCollector) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- c.allocated }

// Collect is part of prometheus.Collector. A pool that cannot tell is left out: its own metrics say why.
func (c *volumeCollector) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	for _, name := range c.set.Names() {
		pool, err := c.set.Get(name)
		if err != nil {
			continue
		}
		mapped, err := pool.Mapped(ctx)
		if err != nil {
			continue
		}
		for volume, bytes := range mapped {
			metrics <- prometheus.MustNewConstMetric(c.allocated, prometheus.GaugeValue, float64(bytes), name, volume)
		}
	}
}
