//go:build kernel

package bench

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// creationTables are what is told of create + activate + mount.
type creationTables struct{ total, parts, requests, withLVM, nine *table }

// creation measures create + activate + mount beside the kernel alone, with more and more volumes, and beside LVM.
func (r *run) creation(t *testing.T) {
	tables := creationTables{
		total:    newTable("file system", "existing volumes", "engine p50 ms", "p99", "kernel alone p50 ms", "p99", "ratio of p50", "of p10", "samples"),
		parts:    newTable("file system", "existing volumes", "create ms", "kernel alone", "activate ms", "kernel alone", "mount ms", "kernel alone"),
		requests: newTable("file system", "existing volumes", "reads", "kernel alone", "writes", "kernel alone", "flushes", "kernel alone"),
		withLVM:  newTable("file system", "existing volumes of each", "LVM p50 ms", "worst", "of it lvcreate", "mkfs", "engine p50 ms", "worst", "LVM / engine", "samples"),
		nine:     newTable("existing volumes of each", "nine LVM commands, p50 ms", "engine's create, p50 ms", "nine / engine", "samples"),
	}
	r.plot = plot{title: "Create, activate and mount one volume of 1 GiB", across: "existing volumes", up: "milliseconds (median)"}
	curves := map[string]*curve{}
	add := func(name, color, dash string, existing int, ms float64) {
		if curves[name] == nil {
			curves[name] = &curve{name: name, color: color, dash: dash}
		}
		curves[name].points = append(curves[name].points, point{float64(existing), ms})
	}
	colors := map[filesystem.Type]string{filesystem.Ext4: "#1f77b4", filesystem.XFS: "#d62728"}
	first := map[filesystem.Type]float64{}
	for _, existing := range r.plan.existing {
		r.fill(t, existing)
		for _, fsType := range filesystem.Types {
			engine, floor := r.pairs(t, fsType, &tables)
			median := float64(engine.total.median())
			if first[fsType] == 0 {
				first[fsType] = median
			}
			add("csi-dm, "+string(fsType), colors[fsType], "", existing, median/1e6)
			add("kernel alone, "+string(fsType), colors[fsType], "2 3", existing, float64(floor.total.median())/1e6)
			r.verdicts.atMost(fmt.Sprintf("create + activate + mount, %s, %d volumes, against the kernel alone", fsType, existing), ratio(engine.total, floor.total, 0.5), 2, " ×")
			if existing == r.plan.existing[len(r.plan.existing)-1] {
				r.verdicts.atMost(fmt.Sprintf("the same, %s, with %d volumes against with %d", fsType, existing, r.plan.existing[0]), median/first[fsType], 1.5, " ×")
			}
		}
		if !slices.Contains(r.plan.withLVM, existing) {
			continue
		}
		r.lvm.fill(t, existing)
		for _, fsType := range filesystem.Types {
			add("LVM, "+string(fsType), colors[fsType], "8 4", existing, float64(r.triples(t, fsType, &tables).median())/1e6)
		}
		r.nine(t, &tables)
	}
	for _, side := range []string{"csi-dm, ", "kernel alone, ", "LVM, "} {
		for _, fsType := range filesystem.Types {
			if c := curves[side+string(fsType)]; c != nil {
				r.plot.curves = append(r.plot.curves, *c)
			}
		}
	}
	r.print("Create, activate and mount one volume of %d GiB, its base present:\n\n%s", int64(volumeSize)>>30, tables.total)
	r.print("The same by steps, medians:\n\n%s", tables.parts)
	r.print("Requests that its disk serves meanwhile, medians:\n\n%s", tables.requests)
	r.print("Create, format and mount with LVM, beside the engine:\n\n%s", tables.withLVM)
	r.print("The nine LVM commands that TopoLVM runs for one thin volume, without mkfs and mount, beside the engine's create:\n\n%s", tables.nine)
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
func (r *run) pairs(t testing.TB, fsType filesystem.Type, tables *creationTables) (engine, floor side) {
	for i := range warmUp + r.plan.pairs {
		var e, f steps
		if i%2 == 0 {
			e, f = r.onEngine(t, fsType), r.onFloor(t, fsType)
		} else {
			f, e = r.onFloor(t, fsType), r.onEngine(t, fsType)
		}
		if i >= warmUp {
			engine.add(e)
			floor.add(f)
		}
	}
	existing := strconv.Itoa(r.existing)
	tables.total.row(string(fsType), existing,
		milliseconds(engine.total.median()), milliseconds(engine.total.quantile(0.99)),
		milliseconds(floor.total.median()), milliseconds(floor.total.quantile(0.99)),
		fmt.Sprintf("%.2f", ratio(engine.total, floor.total, 0.5)), fmt.Sprintf("%.2f", ratio(engine.total, floor.total, 0.1)), strconv.Itoa(len(engine.total)))
	tables.parts.row(string(fsType), existing,
		milliseconds(engine.create.median()), milliseconds(floor.create.median()),
		milliseconds(engine.activate.median()), milliseconds(floor.activate.median()),
		milliseconds(engine.mount.median()), milliseconds(floor.mount.median()))
	tables.requests.row(string(fsType), existing,
		strconv.Itoa(engine.reads.median()), strconv.Itoa(floor.reads.median()),
		strconv.Itoa(engine.writes.median()), strconv.Itoa(floor.writes.median()),
		strconv.Itoa(engine.flushes.median()), strconv.Itoa(floor.flushes.median()))
	for _, q := range []float64{0.1, 0.5, 0.9} {
		fmt.Printf("%s, %s existing, p%.0f: ratio %.2f; engine %s = create %s, activate %s, mount %s (%s of it to look); kernel alone %s = %s, %s, %s\n", fsType, existing, 100*q,
			ratio(engine.total, floor.total, q),
			milliseconds(engine.total.quantile(q)), milliseconds(engine.create.quantile(q)), milliseconds(engine.activate.quantile(q)), milliseconds(engine.mount.quantile(q)), milliseconds(engine.look.quantile(q)),
			milliseconds(floor.total.quantile(q)), milliseconds(floor.create.quantile(q)), milliseconds(floor.activate.quantile(q)), milliseconds(floor.mount.quantile(q)))
	}
	return engine, floor
}

// lvmBounds are how many times the engine's time LVM must take at least, by file system and number of volumes.
var lvmBounds = map[filesystem.Type]map[int]float64{
	filesystem.Ext4: {100: 50, 1000: 100},
	filesystem.XFS:  {100: 30, 1000: 60},
}

// triples measures LVM and the engine by turns.
func (r *run) triples(t testing.TB, fsType filesystem.Type, tables *creationTables) (total sample) {
	var engine side
	var create, format sample
	for i := range 1 + r.plan.triples {
		took := r.lvm.up(t, fsType, r.directories[2])
		r.lvm.down(t, r.directories[2])
		e := r.onEngine(t, fsType)
		if i > 0 {
			engine.add(e)
			total, create, format = append(total, took.total()), append(create, took.create), append(format, took.format)
		}
	}
	tables.withLVM.row(string(fsType), strconv.Itoa(r.existing), milliseconds(total.median()), milliseconds(total.quantile(1)),
		milliseconds(create.median()), milliseconds(format.median()),
		milliseconds(engine.total.median()), milliseconds(engine.total.quantile(1)),
		fmt.Sprintf("%.0f", ratio(total, engine.total, 0.5)), strconv.Itoa(len(total)))
	if bound := lvmBounds[fsType][r.existing]; bound > 0 {
		r.verdicts.atLeast(fmt.Sprintf("lvcreate + mkfs + mount, %s, %d volumes, against create + activate + mount", fsType, r.existing), ratio(total, engine.total, 0.5), bound, " ×")
	}
	return total
}

// nine measures what TopoLVM runs to make one thin volume, beside the engine's CreateVolume.
func (r *run) nine(t testing.TB, tables *creationTables) {
	var lvm, engine sample
	for i := range 1 + r.plan.nine {
		took := r.lvm.nineCommands(t)
		e := r.onEngine(t, filesystem.Ext4)
		if i > 0 {
			lvm, engine = append(lvm, took), append(engine, e.create)
		}
	}
	tables.nine.row(strconv.Itoa(r.existing), milliseconds(lvm.median()), milliseconds(engine.median()), fmt.Sprintf("%.0f", ratio(lvm, engine, 0.5)), strconv.Itoa(len(lvm)))
	r.verdicts.atLeast(fmt.Sprintf("TopoLVM's nine LVM commands, %d volumes, against create alone", r.existing), ratio(lvm, engine, 0.5), 1000, " ×")
}
