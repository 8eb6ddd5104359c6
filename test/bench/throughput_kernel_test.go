//go:build kernel

package bench

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// requesters is how many goroutines ask for volumes at once.
const requesters = 64

// inParallel runs do for 0 … count-1 from at most n goroutines, waits for them and gives the first error.
func inParallel(n, count int, do func(i int) error) error {
	var group errgroup.Group
	group.SetLimit(n)
	for i := range count {
		group.Go(func() error { return do(i) })
	}
	return group.Wait()
}

// throughput measures how many volumes a second the engine makes for many who ask at once, beside the messages alone, sent
// one after the other.
func (r *run) throughput(t *testing.T) {
	var engine, floor, together sample // for all volumes
	count := r.plan.throughput
	control := r.floor.control.Fd()
	// onFloor sends messages for count volumes with send.
	onFloor := func(send func(volumes []*floorVolume)) time.Duration {
		volumes := make([]*floorVolume, count)
		for i := range volumes {
			volumes[i] = r.floor.prepare(filesystem.Ext4)
		}
		began := time.Now()
		send(volumes)
		took := time.Since(began)
		for _, v := range volumes {
			must(t, r.dm.DeleteThin(r.ctx, r.floor.pool, v.id))
		}
		return took
	}
	for round := range r.plan.rounds {
		name := func(i int) string { return fmt.Sprintf("pvc-eeeeeeee-0000-0000-%04d-%012d", round, i) }
		began := time.Now()
		must(t, inParallel(requesters, count, func(i int) error { return r.engine.make(r.ctx, name(i), filesystem.Ext4) }))
		engine = append(engine, time.Since(began))
		must(t, inParallel(requesters, count, func(i int) error { return r.engine.pool.DeleteVolume(r.ctx, name(i)) }))

		floor = append(floor, onFloor(func(volumes []*floorVolume) {
			for _, v := range volumes {
				v.snapshot.send(t, control)
			}
		}))
		together = append(together, onFloor(func(volumes []*floorVolume) {
			must(t, inParallel(requesters, count, func(i int) error { volumes[i].snapshot.send(t, control); return nil }))
		}))
	}
	rate := func(s sample) float64 { return float64(count) / s.median().Seconds() }
	table := newTable("volumes", "requests at once", "engine, volumes per second", "kernel alone, one after the other", "engine / that", fmt.Sprintf("kernel alone, from %d goroutines", requesters), "engine / that", "rounds")
	table.row(strconv.Itoa(count), strconv.Itoa(requesters), number(rate(engine)), number(rate(floor)), number(rate(engine)/rate(floor)), number(rate(together)), number(rate(engine)/rate(together)), strconv.Itoa(len(engine)))
	r.verdicts.atLeast(fmt.Sprintf("%d volumes from %d goroutines, volumes per second, against the kernel's own serial rate", count, requesters), rate(engine)/rate(floor), 0.5, " ×")
	r.print("Making many volumes at once, %d of them there already:\n\n%s", r.existing, table)
}

// activation measures Activate beside the ioctls alone while many devices are active.
func (r *run) activation(t *testing.T) {
	table := newTable("active devices", "engine p50 ms", "p99", "kernel alone p50 ms", "p99", "ratio of p50", "samples")
	active := min(r.existing, mostActive)
	sampled := r.sampleName()
	r.engine.create(r.ctx, t, sampled, filesystem.Ext4)
	for _, want := range r.plan.active {
		for ; active < want; active++ {
			r.engine.activate(r.ctx, t, existingName(active))
		}
		v := r.floor.prepare(filesystem.Ext4)
		control := r.floor.control.Fd()
		v.snapshot.send(t, control)
		onEngine := func() time.Duration {
			began := time.Now()
			r.engine.activate(r.ctx, t, sampled)
			took := time.Since(began)
			must(t, r.engine.pool.Deactivate(r.ctx, sampled))
			return took
		}
		onFloor := func() time.Duration {
			began := time.Now()
			v.make.send(t, control)
			v.load.send(t, control)
			v.live.send(t, control)
			took := time.Since(began)
			r.floor.remove(r.ctx, t, devicemapper.Name(v.name))
			// The kernel writes its answers over what was laid out.
			v.layOut(r.floor)
			return took
		}
		var engine, floor sample
		for i := range warmUp + r.plan.activations {
			var e, f time.Duration
			if i%2 == 0 {
				e, f = onEngine(), onFloor()
			} else {
				f, e = onFloor(), onEngine()
			}
			if i >= warmUp {
				engine, floor = append(engine, e), append(floor, f)
			}
		}
		must(t, r.dm.DeleteThin(r.ctx, r.floor.pool, v.id))
		table.row(strconv.Itoa(active), milliseconds(engine.median()), milliseconds(engine.quantile(0.99)), milliseconds(floor.median()), milliseconds(floor.quantile(0.99)),
			fmt.Sprintf("%.2f", ratio(engine, floor, 0.5)), strconv.Itoa(len(engine)))
		r.verdicts.atMost(fmt.Sprintf("activation with %d active devices, against the kernel alone", active), ratio(engine, floor, 0.5), 1.5, " ×")
	}
	must(t, r.engine.pool.DeleteVolume(r.ctx, sampled))
	for i := mostActive; i < active; i++ {
		must(t, r.engine.pool.Deactivate(r.ctx, existingName(i)))
	}
	r.print("Activation of a volume while many devices are active in its pool:\n\n%s", table)
}
