//go:build kernel

package strictcut

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/crash/history"
	"github.com/csi-dm/csi-dm/test/crash/inspect"
	"github.com/csi-dm/csi-dm/test/crash/writelog"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

var (
	points = flag.Int("points", 40, "how many strict cuts")
	seed   = flag.Uint64("seed", 0, "seed of the load and of the cuts; 0 draws one")
)

const (
	// poolSize is that of the one disk below the pool, in bytes.
	poolSize = 1 << 30
	// loadEvents is how many events the recorded load tells before it ends.
	loadEvents = 1500
	// recordLimit is far above what the recording takes, cutLimit what one cut takes.
	recordLimit = 5 * time.Minute
	cutLimit    = 2 * time.Minute
)

// TestStrictCuts records the making of a pool and a load on it, and goes back to moments of the recording, with all that was
// not flushed by then missing, or some of it. What was acknowledged before the moment must hold.
func TestStrictCuts(t *testing.T) {
	kerneltest.CheckClean(t)
	if *seed == 0 {
		*seed = rand.Uint64N(1_000_000) + 1
	}
	t.Logf("%d strict cuts, seed %d", *points, *seed)
	r := newRecording(t)
	r.record(t, *seed)
	log, closeLog := r.read(t)
	defer closeLog()
	cuts := drawCuts(log, *seed, *points)
	t.Logf("%d entries, %d moments, %d events were recorded; going back to %d of them", len(log.Entries), len(log.Moments()), len(r.events), len(cuts))

	disks := newRewound(t, log)
	began, subsets, inspected := time.Now(), 0, inspect.Result{}
	seen := map[history.Kind]int{}
	for n, c := range cuts {
		if n > 0 && n%25 == 0 {
			t.Logf("%d strict cuts have passed", n) // for who ends the test before its end
		}
		known, err := r.historyAt(log, c.moment)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.unflushed) > 0 {
			subsets++
		}
		result, err := disks.judge(t, c, known)
		if err != nil {
			t.Errorf("seed %d: %v: %v", *seed, c, err)
			disks.explain(t, c, known)
			return
		}
		inspected.Volumes += result.Volumes
		inspected.Sectors += result.Sectors
	}
	for _, e := range r.events {
		if e.Stage == history.Done {
			seen[e.Kind]++
		}
	}
	t.Logf("%s: looked at %d volumes and %d sectors; %d cuts kept some of what was not flushed; acknowledged %v",
		time.Since(began).Round(time.Second), inspected.Volumes, inspected.Sectors, subsets, seen)
	for _, kind := range []history.Kind{history.Create, history.Snapshot, history.Grow, history.Delete, history.Write, history.Sync} {
		if seen[kind] == 0 {
			t.Errorf("no %s was acknowledged", kind)
		}
	}
	if *points >= 20 && (inspected.Sectors == 0 || subsets == 0) {
		t.Error("the test has seen too little")
	}
}

// strictCut is a moment to go back to.
type strictCut struct {
	moment int
	// unflushed are entries that the disk has kept besides, a random choice of those that waited for a flush.
	unflushed []int
}

func (c strictCut) String() string {
	return fmt.Sprintf("%d entries, and %d that were not flushed: %v", c.moment, len(c.unflushed), c.unflushed)
}

// drawCuts chooses moments, in order: half of them exactly what was flushed, half with some of what was not.
func drawCuts(log *writelog.Log, seed uint64, count int) []strictCut {
	random := rand.New(rand.NewPCG(seed, 1))
	var exact, waiting []int
	for _, moment := range log.Moments() {
		exact = append(exact, moment)
		if first, end := log.Unflushed(moment); end > first {
			waiting = append(waiting, moment)
		}
	}
	some := func(moments []int, count int) []int {
		random.Shuffle(len(moments), func(i, j int) { moments[i], moments[j] = moments[j], moments[i] })
		return moments[:min(count, len(moments))]
	}
	var cuts []strictCut
	for _, moment := range some(exact, count-count/2) {
		cuts = append(cuts, strictCut{moment: moment})
	}
	for _, moment := range some(waiting, count/2) {
		c := strictCut{moment: moment}
		for _, n := range writelog.Range(log.Unflushed(moment)) {
			if random.IntN(2) == 0 {
				c.unflushed = append(c.unflushed, n)
			}
		}
		cuts = append(cuts, c)
	}
	slices.SortFunc(cuts, func(a, b strictCut) int { return a.moment - b.moment })
	return cuts
}

// rewound is a disk on which the recording is replayed, always onwards, and a copy-on-write device over it, so that looking
// at a moment does not change the disk.
type rewound struct {
	dm         *devicemapper.Client
	log        *writelog.Log
	disk, copy string
	target     *os.File
	replayed   int // entries
	mounts     string
}

func newRewound(t *testing.T, log *writelog.Log) *rewound {
	t.Helper()
	r := &rewound{dm: client(t), log: log, disk: kerneltest.MachineDisk(t), copy: kerneltest.MachineDisk(t), mounts: t.TempDir()}
	target, err := os.OpenFile(r.disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	r.target = target
	return r
}

// judge opens the pool as it was at a moment, and looks.
func (r *rewound) judge(t *testing.T, c strictCut, known *history.History) (result inspect.Result, err error) {
	t.Helper()
	err = r.at(t, c, func(ctx context.Context, device devicemapper.Device) (err error) {
		result, err = r.open(ctx, device, known)
		return err
	})
	return result, err
}

// at goes on to a moment and runs do with a copy of the disk as it was then.
func (r *rewound) at(t *testing.T, c strictCut, do func(ctx context.Context, device devicemapper.Device) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(klog.NewContext(t.Context(), klog.Background()), cutLimit)
	defer cancel()
	if err := r.log.Replay(r.target, writelog.Range(r.replayed, c.moment)...); err != nil {
		t.Fatal(err)
	}
	r.replayed = c.moment
	// dm-snapshot: origin, device for the copies, not persistent, chunks of 8 sectors.
	table := devicemapper.Table{{Length: devicemapper.SectorsOf(poolSize), Target: devicemapper.RawTarget{
		TargetType: "snapshot", Params: fmt.Sprintf("%s %s N 8", number(t, r.disk), number(t, r.copy)),
	}}}
	device, err := r.dm.Activate(ctx, "crash-test-moment", "TEST-crash-test-moment", table)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := r.dm.Remove(context.WithoutCancel(ctx), device, devicemapper.RemoveOptions{BusyTimeout: 5 * time.Second}); err != nil {
			t.Error(err)
		}
	}()
	if err := r.keepUnflushed(device, c.unflushed); err != nil {
		t.Fatal(err)
	}
	return do(ctx, device)
}

func (r *rewound) keepUnflushed(device devicemapper.Device, entries []int) error {
	file, err := os.OpenFile(device.Path(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return r.log.Replay(file, entries...)
}

// open opens the pool on the device, judges it, shuts it down and has its metadata checked.
func (r *rewound) open(ctx context.Context, device devicemapper.Device, known *history.History) (result inspect.Result, err error) {
	pool, err := thinpool.Open(ctx, r.dm, config(device.Path()))
	if err != nil {
		return result, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, pool.Shutdown(ctx))
		}
	}()
	if result, err = (inspect.Inspection{Devices: r.dm, Pool: pool, Directory: r.mounts, History: known}).Run(ctx); err != nil {
		return result, err
	}
	status, err := pool.Status(ctx)
	if err != nil {
		return result, err
	}
	_, table, err := inspect.Metadata(ctx, r.dm, devicemapper.Name(status.DeviceName))
	if err != nil {
		return result, err
	}
	if err := pool.Shutdown(ctx); err != nil {
		return result, err
	}
	return result, inspect.CheckMetadata(ctx, r.dm, table)
}

// explain shows the record around a moment that was judged to be wrong, and whether the disk is right with nothing kept, or
// all, of what was not flushed.
func (r *rewound) explain(t *testing.T, c strictCut, known *history.History) {
	t.Helper()
	const around = 60
	for n := max(0, c.moment-around); n < min(len(r.log.Entries), c.moment+around); n++ {
		entry := r.log.Entries[n]
		t.Logf("entry %d: flags %05b, %d bytes at %d %s", n, entry.Flags, entry.Length, entry.Offset, entry.Name)
	}
	for name, kept := range map[string][]int{"nothing": nil, "everything": writelog.Range(r.log.Unflushed(c.moment))} {
		_, err := r.judge(t, strictCut{moment: c.moment, unflushed: kept}, known)
		t.Logf("with %s kept of what was not flushed: %v", name, err)
	}
}
