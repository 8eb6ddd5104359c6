//go:build kernel

package bench

import (
	"context"
	"fmt"
	"os"
	"runtime/pprof"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

const (
	// volumeSize is that of every volume, in bytes.
	volumeSize = 1 << 30
	// mostActive of the volumes that are there have a device.
	mostActive = 200
	// sectionPatience is after how long a section says where it is.
	sectionPatience = 6 * time.Minute
	// warmUp rounds are not counted.
	warmUp = 5
)

// plan is how much is measured.
type plan struct {
	existing       []int // volumes that are there already
	withLVM        []int // of these, where LVM is measured as well
	pairs, triples int   // rounds without and with LVM
	nine           int   // runs of TopoLVM's nine commands
	fdatasyncs     int
	throughput     int // volumes that are made from many goroutines
	rounds         int // of few expensive things
	active         []int
	activations    int
	snapshots      int
	mappings       int64         // of the volume that is deleted
	undisturbed    time.Duration // of a neighbour's writes before a deletion
	settle         time.Duration
}

func planOf(short bool) plan {
	if short {
		return plan{
			existing: []int{10, 100}, withLVM: []int{100}, pairs: 20, triples: 2, nine: 1, fdatasyncs: 50, throughput: 128, rounds: 2,
			active: []int{50}, activations: 20, snapshots: 5, mappings: 1 << 16, undisturbed: 2 * time.Second, settle: time.Second,
		}
	}
	return plan{
		existing: []int{10, 100, 1000, 10_000}, withLVM: []int{100, 1000}, pairs: 200, triples: 5, nine: 3, fdatasyncs: 300, throughput: 1000, rounds: 5,
		active: []int{1000, 2000}, activations: 200, snapshots: 30, mappings: 1 << 22, undisturbed: 30 * time.Second, settle: 10 * time.Minute,
	}
}

// TestPerformance measures and prints. What is between the marking lines is for docs/performance.md.
func TestPerformance(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx := klog.NewContext(context.Background(), klog.Background())
	dm, err := devicemapper.Open()
	must(t, err)
	t.Cleanup(func() { dm.Close() })
	r := &run{t: t, ctx: ctx, dm: dm, plan: planOf(testing.Short())}
	overhead := r.beginOverhead(t)

	lvmDisk := kerneltest.MachineDisk(t)
	durable := fdatasyncs(t, lvmDisk, r.plan.fdatasyncs)
	r.engine = openEngine(ctx, t, dm, kerneltest.MachineDisk(t))
	r.floor = openFloor(ctx, t, r.engine, kerneltest.MachineDisk(t))
	r.lvm = openLVM(t, dm, lvmDisk)
	r.directories = [3]string{t.TempDir(), t.TempDir(), t.TempDir()}

	r.section("create", r.creation)
	r.section("profile", r.profile)
	r.section("throughput", r.filled(r.throughput))
	r.section("activation", r.filled(r.activation))
	r.section("open", r.filled(r.opening))
	r.section("snapshot", r.filled(r.snapshots))
	r.section("execs", func(t *testing.T) {
		r.print("Programs executed on the machine, as its audit reports them:\n\n%s", countExecs(ctx, t, r.engine, &r.verdicts))
	})
	r.section("deletion", r.deletion)
	r.section("overhead", func(t *testing.T) { overhead.end(t) })

	fmt.Println(DocumentBegin)
	fmt.Printf("%s\n", r.verdicts.table())
	for _, text := range r.texts {
		fmt.Println(text)
	}
	fmt.Printf("Making 4 KiB of a file of ext4 durable on such a disk (pwrite and fdatasync): p50 %s ms, p99 %s ms, %d samples.\n",
		milliseconds(durable.median()), milliseconds(durable.quantile(0.99)), len(durable))
	fmt.Println(DocumentEnd)
	fmt.Println(PlotBegin)
	fmt.Print(r.plot.svg())
	fmt.Println(PlotEnd)
}

// run is one run: the sides, what is on them, and what was found.
type run struct {
	t           *testing.T // of the whole run
	ctx         context.Context
	dm          *devicemapper.Client
	plan        plan
	engine      *engine
	floor       *floor
	lvm         *volumeManager
	directories [3]string // where engine, floor and LVM mount
	existing    int       // volumes that stay, on engine and floor each
	samples     int       // for names

	scratch string          // a directory for images
	images  map[bool]string // metadata that thin_restore made, by whether its mappings are scattered

	verdicts verdicts
	texts    []string
	plot     plot
}

// section measures one thing. What fails in it ends it and not the others; the run fails then all the same.
func (r *run) section(name string, measure func(t *testing.T)) {
	began := time.Now()
	watch := time.AfterFunc(sectionPatience, func() {
		fmt.Printf("%s takes longer than %s; goroutines:\n", name, sectionPatience)
		_ = pprof.Lookup("goroutine").WriteTo(os.Stdout, 2)
	})
	defer watch.Stop()
	r.t.Run(name, measure)
	fmt.Printf("%s took %.0f s\n", name, time.Since(began).Seconds())
}

// filled sees that all volumes are there, also where the section that makes them was left out.
func (r *run) filled(measure func(t *testing.T)) func(t *testing.T) {
	return func(t *testing.T) {
		r.fill(t, r.plan.existing[len(r.plan.existing)-1])
		measure(t)
	}
}

// print adds a paragraph to the document.
func (r *run) print(format string, values ...any) {
	text := fmt.Sprintf(format, values...)
	fmt.Println(text)
	r.texts = append(r.texts, text)
}

// fill makes volumes on engine and floor until there are count, of both file systems by turns, and activates the first.
func (r *run) fill(t testing.TB, count int) {
	for _, fsType := range filesystem.Types {
		must(t, r.engine.pool.EnsureBase(r.ctx, volumeSize, filesystem.Format{Type: fsType}))
	}
	from := r.existing
	must(t, inParallel(16, count-from, func(i int) error { return r.engine.make(r.ctx, existingName(from+i), existingType(from+i)) }))
	for ; r.existing < count; r.existing++ {
		active := r.existing < mostActive
		if active {
			r.engine.activate(r.ctx, t, existingName(r.existing))
		}
		r.floor.fill(r.ctx, r.t, r.existing, existingType(r.existing), active)
	}
}

// deactivate removes the devices of all volumes that stay.
func (r *run) deactivate(t testing.TB) {
	for i := range r.existing {
		must(t, r.engine.pool.Deactivate(r.ctx, existingName(i)))
	}
}

func existingName(number int) string {
	return fmt.Sprintf("pvc-%08d-0000-0000-0000-000000000000", number)
}

func existingType(number int) filesystem.Type { return filesystem.Types[number%len(filesystem.Types)] }

// onEngine makes and mounts a volume on the engine's side, and takes it away outside of the clock.
func (r *run) onEngine(t testing.TB, fsType filesystem.Type) steps {
	name := r.sampleName()
	before := readDiskIO(t, r.engine.disk)
	took := r.engine.up(r.ctx, t, name, fsType, r.directories[0])
	took.io = readDiskIO(t, r.engine.disk).since(before)
	r.engine.down(r.ctx, t, name, r.directories[0])
	return took
}

func (r *run) sampleName() string {
	r.samples++
	return fmt.Sprintf("pvc-ffffffff-0000-0000-0000-%012d", r.samples)
}

func (r *run) onFloor(t testing.TB, fsType filesystem.Type) steps {
	volume := r.floor.prepare(fsType)
	before := readDiskIO(t, r.floor.disk)
	took := r.floor.up(t, volume, fsType, r.directories[1])
	took.io = readDiskIO(t, r.floor.disk).since(before)
	r.floor.down(r.ctx, t, volume, r.directories[1])
	return took
}
