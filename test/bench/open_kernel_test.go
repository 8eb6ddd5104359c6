//go:build kernel

package bench

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// opening measures Open of a pool with all its volumes beside the activation of the same devices by the kernel alone.
func (r *run) opening(t *testing.T) {
	r.deactivate(t)
	status, err := r.engine.pool.Status(r.ctx)
	must(t, err)
	prefix := strings.TrimSuffix(status.DeviceName, "pool")
	devices := []string{"registry", "metadata", "data", "pool"}
	tables := map[string]devicemapper.Table{}
	for _, part := range devices {
		tables[part], err = r.dm.Table(r.ctx, devicemapper.Name(prefix+part), devicemapper.TableOptions{})
		must(t, err)
	}
	must(t, r.engine.pool.Shutdown(r.ctx))
	kernelAlone := func() time.Duration {
		var made []devicemapper.Device
		began := time.Now()
		for _, part := range devices {
			table := tables[part]
			if part == "pool" {
				target := table[0].Target.(devicemapper.ThinPool)
				target.Metadata, target.Data = made[1].Number, made[2].Number
				table = devicemapper.Table{{Length: table[0].Length, Target: target}}
			}
			device, err := r.dm.Activate(r.ctx, devicemapper.Name(prefix+part), "", table)
			must(t, err)
			made = append(made, device)
		}
		took := time.Since(began)
		for i := range made {
			r.floor.remove(r.ctx, t, made[len(made)-1-i])
		}
		return took
	}
	var engine, kernel sample
	parts := newStopwatch("recover: ")
	for i := range 1 + r.plan.rounds {
		k := kernelAlone()
		parts.begin()
		r.engine.pool, err = thinpool.Open(r.ctx, r.dm, engineConfig(r.engine.disk))
		e := parts.end()
		must(t, err)
		if i > 0 {
			parts.keep()
			engine, kernel = append(engine, e), append(kernel, k)
		}
		if i < r.plan.rounds {
			must(t, r.engine.pool.Shutdown(r.ctx))
		}
	}
	if volumes := len(r.engine.pool.Volumes()); volumes != r.existing {
		t.Fatalf("the pool was opened with %d volumes instead of %d", volumes, r.existing)
	}
	table := newTable("volumes", "engine p50 ms", "worst", "kernel's activation p50 ms", "beyond that, ms", "rounds")
	beyond := engine.median() - kernel.median()
	table.row(strconv.Itoa(r.existing), milliseconds(engine.median()), milliseconds(engine.quantile(1)), milliseconds(kernel.median()), milliseconds(beyond), strconv.Itoa(len(engine)))
	r.verdicts.atMost(fmt.Sprintf("open of a pool with %d volumes, beyond the kernel's own activation", r.existing), float64(beyond.Milliseconds()), 200, " ms")
	r.print("Opening a pool:\n\n%s", table)
	r.print("What an opening consists of, medians. A page fault takes %.1f µs here: the first write to each of 2,048 pages of fresh memory, divided by their number:\n\n%s",
		float64(faultCost(t).Nanoseconds())/1000, parts.table("part of an open"))
}
