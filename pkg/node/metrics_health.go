package node

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/csi-dm/csi-dm/pkg/node/monitor"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/volumehealth"
)

// healthCollector tells what is wrong with pools and volumes when it is asked. What is well has no series: alert on what is there.
type healthCollector struct {
	set     *pools.Set
	monitor *monitor.Monitor

	pool, volume, abnormal *prometheus.Desc
}

func newHealthCollector(set *pools.Set, m *monitor.Monitor) *healthCollector {
	return &healthCollector{
		set: set, monitor: m,
		pool: prometheus.NewDesc("csi_dm_pool_abnormal",
			"1 for each thing that is wrong with a pool, and so with all of its volumes.", []string{"pool", "status", "reason"}, nil),
		volume: prometheus.NewDesc("csi_dm_volume_abnormal",
			"1 for each thing that is wrong with a volume alone.", []string{"pool", "volume", "status", "reason"}, nil),
		abnormal: prometheus.NewDesc("csi_dm_pool_abnormal_volumes",
			"Volumes of the pool with which something is wrong, that of the pool included.", []string{"pool"}, nil),
	}
}

// Describe is part of prometheus.Collector.
func (c *healthCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- c.pool
	descriptions <- c.volume
	descriptions <- c.abnormal
}

// Collect is part of prometheus.Collector.
func (c *healthCollector) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	for _, name := range c.set.Names() {
		problems, err := c.monitor.Pool(ctx, name)
		if err != nil {
			continue // its other metrics say so
		}
		series := func(description *prometheus.Desc, problem volumehealth.Problem, labels ...string) {
			metrics <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, 1, append(labels, string(problem.Status), problem.Reason)...)
		}
		for _, problem := range problems {
			series(c.pool, problem, name)
		}
		pool, err := c.set.Get(name)
		if err != nil {
			continue
		}
		own, err := c.monitor.Volumes(ctx, pool)
		if err != nil {
			continue
		}
		for volume, problems := range own {
			for _, problem := range problems {
				series(c.volume, problem, name, volume)
			}
		}
		abnormal := len(own)
		if len(problems) > 0 {
			abnormal = len(pool.Volumes()) + len(pool.LostVolumes())
		}
		metrics <- prometheus.MustNewConstMetric(c.abnormal, prometheus.GaugeValue, float64(abnormal), name)
	}
}
