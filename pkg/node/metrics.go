package node

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// scrapeLimit bounds what a scrape asks of the kernel.
const scrapeLimit = 5 * time.Second

// poolGauge is one figure of a pool.
type poolGauge struct {
	description *prometheus.Desc
	value       func(thinpool.Status) float64
}

// poolCollector reads the pools' state when it is asked for: microseconds each, and never out of date.
type poolCollector struct {
	set *pools.Set
	// orphaned tells how many volumes without an object a pool holds, if that is known.
	orphaned func(pool string) (count int, known bool)

	open, mode, space, orphans *prometheus.Desc
	gauges                     []poolGauge
}

var poolModes = []thinpool.Mode{thinpool.ModeReadWrite, thinpool.ModeOutOfDataSpace, thinpool.ModeReadOnly, thinpool.ModeFailed}

func newPoolCollector(set *pools.Set, orphaned func(pool string) (count int, known bool)) *poolCollector {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("csi_dm_pool_"+name, help, append([]string{"pool"}, labels...), nil)
	}
	gauge := func(name, help string, value func(thinpool.Status) float64) poolGauge {
		return poolGauge{description: describe(name, help), value: value}
	}
	return &poolCollector{
		set: set, orphaned: orphaned,
		open:    describe("open", "Whether the pool is open."),
		mode:    describe("mode", "1 for the mode in which the kernel holds the pool.", "mode"),
		space:   describe("space_state", "1 for the state of the pool's data and metadata space: OK, Low, Critical, Full.", "space", "state"),
		orphans: describe("orphaned_volumes", "Volumes that the pool holds and that have no ThinVolume."),
		gauges: []poolGauge{
			gauge("data_size_bytes", "Data space.", func(s thinpool.Status) float64 { return float64(s.Data.Total) }),
			gauge("data_used_bytes", "Data space in use.", func(s thinpool.Status) float64 { return float64(s.Data.Used) }),
			gauge("metadata_size_bytes", "Metadata space.", func(s thinpool.Status) float64 { return float64(s.Metadata.Total) }),
			gauge("metadata_used_bytes", "Metadata space in use, with the kernel's reserve of up to 16 MiB.", func(s thinpool.Status) float64 { return float64(s.Metadata.Used) }),
			gauge("base_bytes", "Data space that formatted bases hold.", func(s thinpool.Status) float64 { return float64(s.BaseBytes) }),
			gauge("promised_bytes", "Sum of the sizes of the volumes.", func(s thinpool.Status) float64 { return float64(s.PromisedBytes) }),
			gauge("volumes", "Volumes that the pool holds.", func(s thinpool.Status) float64 { return float64(s.Volumes) }),
			gauge("inline_volumes", "Inline ephemeral volumes that the pool holds.", func(s thinpool.Status) float64 { return float64(s.OwnedVolumes) }),
			gauge("inline_volume_bytes", "Sum of the sizes of the inline ephemeral volumes.", func(s thinpool.Status) float64 { return float64(s.OwnedBytes) }),
			gauge("lost_volumes", "Volumes whose thin device the pool does not hold any more.", func(s thinpool.Status) float64 { return float64(s.LostVolumes) }),
			gauge("unknown_thin_devices", "Thin devices in the pool that its registry does not know.", func(s thinpool.Status) float64 { return float64(s.UnknownThinDevices) }),
			gauge("pending_deletions", "Deleted volumes whose blocks are not given back yet.", func(s thinpool.Status) float64 { return float64(s.PendingDeletions) }),
			gauge("deferred_removals", "Devices that were in use when they were to be removed, and go when they are closed.", func(s thinpool.Status) float64 { return float64(s.DeferredRemovals) }),
			gauge("bases", "Formatted bases.", func(s thinpool.Status) float64 { return float64(s.Bases) }),
			gauge("snapshot_budget", "Snapshots that the pool can still make.", func(s thinpool.Status) float64 { return float64(s.SnapshotBudget) }),
			gauge("admitting", "Whether new volumes are accepted.", func(s thinpool.Status) float64 { return truth(s.Admitting) }),
			gauge("udev_running", "Whether udev runs on the node.", func(s thinpool.Status) float64 { return truth(s.UdevRunning) }),
			gauge("needs_check", "Whether the metadata needs a check: the kernel demands one, or it could not be read.", func(s thinpool.Status) float64 { return truth(s.NeedsCheck) }),
		},
	}
}

// Describe is part of prometheus.Collector.
func (c *poolCollector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{c.open, c.mode, c.space, c.orphans} {
		descriptions <- description
	}
	for _, gauge := range c.gauges {
		descriptions <- gauge.description
	}
}

// Collect is part of prometheus.Collector.
func (c *poolCollector) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	for _, name := range c.set.Names() {
		pool, err := c.set.Get(name)
		var state thinpool.Status
		if err == nil {
			state, err = pool.Status(ctx)
		}
		if err != nil {
			metrics <- prometheus.MustNewConstMetric(c.open, prometheus.GaugeValue, 0, name)
			continue
		}
		metrics <- prometheus.MustNewConstMetric(c.open, prometheus.GaugeValue, 1, name)
		for _, mode := range poolModes {
			metrics <- prometheus.MustNewConstMetric(c.mode, prometheus.GaugeValue, truth(mode == state.Mode), name, string(mode))
		}
		for _, space := range thinpool.SpaceStates {
			metrics <- prometheus.MustNewConstMetric(c.space, prometheus.GaugeValue, truth(space == state.Data.State), name, "data", string(space))
			metrics <- prometheus.MustNewConstMetric(c.space, prometheus.GaugeValue, truth(space == state.Metadata.State), name, "metadata", string(space))
		}
		if count, known := c.orphaned(name); known {
			metrics <- prometheus.MustNewConstMetric(c.orphans, prometheus.GaugeValue, float64(count), name)
		}
		for _, gauge := range c.gauges {
			metrics <- prometheus.MustNewConstMetric(gauge.description, prometheus.GaugeValue, gauge.value(state), name)
		}
	}
}

func truth(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}
