//go:build kernel

package bench

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

const (
	// volumeSize is that of every volume, in bytes.
	volumeSize = 1 << 30
	// lvmPoolSize of LVM's thin pool, in bytes.
	lvmPoolSize = 14 << 30
	// mostActive of the volumes that are there have a device.
	mostActive = 200
	// warmUp rounds are not counted.
	warmUp = 5
)

// plan is how much is measured.
type plan struct {
	existing       []int // volumes that are there already
	mostLVM        int   // up to which LVM is measured as well
	pairs, triples int   // rounds without and with LVM
	fdatasyncs     int
}

func planOf(short bool) plan {
	if short {
		return plan{existing: []int{10}, mostLVM: 10, pairs: 20, triples: 2, fdatasyncs: 50}
	}
	return plan{existing: []int{10, 100, 1000}, mostLVM: 100, pairs: 200, triples: 5, fdatasyncs: 300}
}

// TestPerformance measures and prints. What is between the lines that are `document` is for docs/performance.md.
func TestPerformance(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx := klog.NewContext(context.Background(), klog.Background())
	dm, err := devicemapper.Open()
	must(t, err)
	t.Cleanup(func() { dm.Close() })
	plan := planOf(testing.Short())

	lvmDisk := kerneltest.MachineDisk(t)
	durable := fdatasyncs(t, lvmDisk, plan.fdatasyncs)
	r := &run{t: t, ctx: ctx, plan: plan}
	r.engine = openEngine(ctx, t, dm, kerneltest.MachineDisk(t))
	r.floor = openFloor(ctx, t, r.engine, kerneltest.MachineDisk(t))
	r.lvm = openLVM(t, lvmDisk)
	r.directories = [3]string{t.TempDir(), t.TempDir(), t.TempDir()}

	total := newTable("file system", "existing volumes", "engine p50 ms", "p99", "kernel alone p50 ms", "p99", "ratio of p50", "of p10", "samples")
	parts := newTable("file system", "existing volumes", "create ms", "kernel alone", "activate ms", "kernel alone", "mount ms", "kernel alone")
	requests := newTable("file system", "existing volumes", "reads", "kernel alone", "writes", "kernel alone", "flushes", "kernel alone")
	withLVM := newTable("file system", "existing volumes of each", "LVM p50 ms", "worst", "of it lvcreate", "mkfs", "engine p50 ms", "worst", "LVM / engine", "samples")
	for _, existing := range plan.existing {
		r.fill(existing)
		for _, fsType := range filesystem.Types {
			r.pairs(fsType, total, parts, requests)
		}
		if existing > plan.mostLVM {
			continue
		}
		r.lvm.fill(t, existing)
		for _, fsType := range filesystem.Types {
			r.triples(fsType, withLVM)
		}
	}
	execs := countExecs(ctx, t, r.engine)

	fmt.Println(DocumentBegin)
	fmt.Printf("Create, activate and mount one volume of %d GiB, its base present:\n\n%s\n", int64(volumeSize)>>30, total)
	fmt.Printf("The same by steps, medians:\n\n%s\n", parts)
	fmt.Printf("Requests that its disk serves meanwhile, medians:\n\n%s\n", requests)
	fmt.Printf("Create, format and mount with LVM, beside the engine:\n\n%s\n", withLVM)
	fmt.Printf("Programs executed on the machine, as its audit reports them:\n\n%s\n", execs)
	fmt.Printf("Making 4 KiB of a file of ext4 durable on such a disk (pwrite and fdatasync): p50 %s ms, p99 %s ms, %d samples.\n",
		milliseconds(durable.median()), milliseconds(durable.quantile(0.99)), len(durable))
	fmt.Println(DocumentEnd)
}

// run is one run: the sides and what is on them.
type run struct {
	t           *testing.T
	ctx         context.Context
	plan        plan
	engine      *engine
	floor       *floor
	lvm         *volumeManager
	directories [3]string // where engine, floor and LVM mount
	existing    int       // volumes that stay, on engine and floor each
	samples     int       // for names
}

// fill makes volumes on engine and floor until there are count, of both file systems by turns, and activates the first.
func (r *run) fill(count int) {
	for ; r.existing < count; r.existing++ {
		fsType := filesystem.Types[r.existing%len(filesystem.Types)]
		active := r.existing < mostActive
		r.engine.create(r.ctx, r.t, existingName(r.existing), fsType)
		if active {
			name := existingName(r.existing)
			r.engine.activate(r.ctx, r.t, name)
			r.t.Cleanup(func() { must(r.t, r.engine.pool.Deactivate(context.WithoutCancel(r.ctx), name)) })
		}
		r.floor.fill(r.ctx, r.t, r.existing, fsType, active)
	}
}

func existingName(number int) string {
	return fmt.Sprintf("pvc-%08d-0000-0000-0000-000000000000", number)
}

// up makes and mounts a volume on the engine's side, and takes it away outside of the clock.
func (r *run) onEngine(fsType filesystem.Type) steps {
	r.samples++
	name := fmt.Sprintf("pvc-ffffffff-0000-0000-0000-%012d", r.samples)
	before := readDiskIO(r.t, r.engine.disk)
	took := r.engine.up(r.ctx, r.t, name, fsType, r.directories[0])
	took.io = readDiskIO(r.t, r.engine.disk).since(before)
	r.engine.down(r.ctx, r.t, name, r.directories[0])
	return took
}

func (r *run) onFloor(fsType filesystem.Type) steps {
	volume := r.floor.prepare(fsType)
	before := readDiskIO(r.t, r.floor.disk)
	took := r.floor.up(r.t, volume, fsType, r.directories[1])
	took.io = readDiskIO(r.t, r.floor.disk).since(before)
	r.floor.down(r.ctx, r.t, volume, r.directories[1])
	return took
}

// side is what was measured of one side, by step.
type side struct {
	total, create, activate, mount, look sample
	reads, writes, flushes               counts
}

func (s *side) add(took steps) {
	s.total = append(s.total, took.total())
	s.create = append(s.create, took.create)
	s.activate = append(s.activate, took.activate)
	s.mount = append(s.mount, took.mount)
	s.look = append(s.look, took.look)
	s.reads = append(s.reads, took.io.reads)
	s.writes = append(s.writes, took.io.writes)
	s.flushes = append(s.flushes, took.io.flushes)
}

// pairs measures engine and floor by turns; who begins alternates too.
func (r *run) pairs(fsType filesystem.Type, total, parts, requests *table) {
	var engine, floor side
	for i := range warmUp + r.plan.pairs {
		var e, f steps
		if i%2 == 0 {
			e, f = r.onEngine(fsType), r.onFloor(fsType)
		} else {
			f, e = r.onFloor(fsType), r.onEngine(fsType)
		}
		if i >= warmUp {
			engine.add(e)
			floor.add(f)
		}
	}
	existing := strconv.Itoa(r.existing)
	total.row(string(fsType), existing,
		milliseconds(engine.total.median()), milliseconds(engine.total.quantile(0.99)),
		milliseconds(floor.total.median()), milliseconds(floor.total.quantile(0.99)),
		fmt.Sprintf("%.2f", ratio(engine.total, floor.total, 0.5)), fmt.Sprintf("%.2f", ratio(engine.total, floor.total, 0.1)), strconv.Itoa(len(engine.total)))
	parts.row(string(fsType), existing,
		milliseconds(engine.create.median()), milliseconds(floor.create.median()),
		milliseconds(engine.activate.median()), milliseconds(floor.activate.median()),
		milliseconds(engine.mount.median()), milliseconds(floor.mount.median()))
	requests.row(string(fsType), existing,
		strconv.Itoa(engine.reads.median()), strconv.Itoa(floor.reads.median()),
		strconv.Itoa(engine.writes.median()), strconv.Itoa(floor.writes.median()),
		strconv.Itoa(engine.flushes.median()), strconv.Itoa(floor.flushes.median()))
	for _, q := range []float64{0.1, 0.5, 0.9} {
		fmt.Printf("%s, %s existing, p%.0f: ratio %.2f; engine %s = create %s, activate %s, mount %s (%s of it to look); kernel alone %s = %s, %s, %s\n", fsType, existing, 100*q,
			ratio(engine.total, floor.total, q),
			milliseconds(engine.total.quantile(q)), milliseconds(engine.create.quantile(q)), milliseconds(engine.activate.quantile(q)), milliseconds(engine.mount.quantile(q)), milliseconds(engine.look.quantile(q)),
			milliseconds(floor.total.quantile(q)), milliseconds(floor.create.quantile(q)), milliseconds(floor.activate.quantile(q)), milliseconds(floor.mount.quantile(q)))
	}
}

// triples measures LVM and the engine by turns.
func (r *run) triples(fsType filesystem.Type, result *table) {
	var engine side
	var total, create, format sample
	for i := range 1 + r.plan.triples {
		took := r.lvm.up(r.t, fsType, r.directories[2])
		r.lvm.down(r.t, r.directories[2])
		e := r.onEngine(fsType)
		if i > 0 {
			engine.add(e)
			total, create, format = append(total, took.total()), append(create, took.create), append(format, took.format)
		}
	}
	result.row(string(fsType), strconv.Itoa(r.existing), milliseconds(total.median()), milliseconds(total.quantile(1)),
		milliseconds(create.median()), milliseconds(format.median()),
		milliseconds(engine.total.median()), milliseconds(engine.total.quantile(1)),
		fmt.Sprintf("%.0f", ratio(total, engine.total, 0.5)), strconv.Itoa(len(total)))
	fmt.Printf("%s, %d existing volumes: LVM / engine %.0f\n", fsType, r.existing, ratio(total, engine.total, 0.5))
}
