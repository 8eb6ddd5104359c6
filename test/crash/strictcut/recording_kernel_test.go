//go:build kernel

package strictcut

import (
	"context"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/crash/history"
	"github.com/csi-dm/csi-dm/test/crash/load"
	"github.com/csi-dm/csi-dm/test/crash/writelog"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// recording is a pool on a disk whose writes are recorded. Each event is marked in the record by its number.
type recording struct {
	dm       *devicemapper.Client
	disk     string // below the pool
	recorded string
	device   devicemapper.Device
	mutex    sync.Mutex
	events   []history.Event
	enough   context.CancelFunc
	failures []error
}

func client(t *testing.T) *devicemapper.Client {
	t.Helper()
	dm, err := devicemapper.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dm.Close(); err != nil {
			t.Error(err)
		}
	})
	return dm
}

// number gives a block device's number.
func number(t *testing.T, path string) devicemapper.DeviceNumber {
	t.Helper()
	var stat syscall.Stat_t
	if err := syscall.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return devicemapper.DeviceNumberOf(stat.Rdev)
}

func config(device string) thinpool.Config {
	return thinpool.Config{
		Name: "crash", BlockSize: 64 << 10, MinFreePercent: 10, OverprovisionMilli: 100_000, ErrorIfNoSpace: true, DiscardPassdown: true,
		Source: thinpool.Source{Devices: []string{device}},
	}
}

func newRecording(t *testing.T) *recording {
	t.Helper()
	return &recording{dm: client(t), disk: kerneltest.MachineDisk(t), recorded: kerneltest.MachineDisk(t)}
}

// run makes the device that is recorded, runs do and removes the device, which ends the record.
func (r *recording) run(t *testing.T, do func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(klog.NewContext(t.Context(), klog.Background()), recordLimit)
	defer cancel()
	takeAtOnce(t, r.disk)
	table := devicemapper.Table{{Length: devicemapper.SectorsOf(poolSize), Target: devicemapper.LogWrites{Device: number(t, r.disk), Log: number(t, r.recorded)}}}
	var err error
	if r.device, err = r.dm.Activate(ctx, "crash-test-record", "TEST-crash-test-record", table); err != nil {
		t.Fatal(err)
	}
	defer func() {
		// The record's superblock is written with the removal.
		if _, err := r.dm.Remove(context.WithoutCancel(ctx), r.device, devicemapper.RemoveOptions{BusyTimeout: cutLimit}); err != nil {
			t.Fatal(err)
		}
	}()
	do(ctx)
	if t.Failed() {
		t.FailNow()
	}
}

// work makes a pool whose disk is recorded, runs do with it and shuts it down.
func (r *recording) work(t *testing.T, do func(ctx context.Context, pool *thinpool.Pool)) {
	t.Helper()
	r.run(t, func(ctx context.Context) {
		pool, err := thinpool.Open(ctx, r.dm, config(r.device.Path()))
		if err != nil {
			t.Fatal(err)
		}
		do(ctx, pool)
		if err := pool.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
}

// record works on a pool until enough was told.
func (r *recording) record(t *testing.T, seed uint64) {
	t.Helper()
	r.work(t, func(ctx context.Context, pool *thinpool.Pool) {
		working, enough := context.WithCancel(ctx)
		defer enough()
		r.enough = enough
		err := load.Load{Pool: pool, Directory: t.TempDir(), Seed: seed, Workers: 3, Volumes: 3, Tell: func(e history.Event) { r.tell(ctx, e) }}.Run(working)
		if err != nil {
			t.Error(err)
		}
		if len(r.failures) > 0 {
			t.Error(r.failures)
		}
	})
}

// tell notes an event, and its number in the record.
func (r *recording) tell(ctx context.Context, e history.Event) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if _, err := r.dm.Message(ctx, r.device, 0, "mark "+strconv.Itoa(len(r.events))); err != nil {
		r.failures = append(r.failures, err)
	}
	r.events = append(r.events, e)
	if len(r.events) == loadEvents {
		r.enough()
	}
}

// read reads the record back.
func (r *recording) read(t *testing.T) (*writelog.Log, func()) {
	t.Helper()
	file, err := os.Open(r.recorded)
	if err != nil {
		t.Fatal(err)
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	log, err := writelog.Read(file, size)
	if err != nil {
		t.Fatal(err)
	}
	// One that ran out of space has no end.
	if n := len(log.Entries); n == 0 || log.Entries[n-1].Name != "dm-log-writes-end" {
		t.Fatalf("the record of %d entries is cut", n)
	}
	return log, func() { file.Close() }
}

// historyAt gives what must hold when the first n entries were durable.
func (r *recording) historyAt(log *writelog.Log, n int) (*history.History, error) {
	known := history.New()
	for _, name := range log.Marks(0, n) {
		number, err := strconv.Atoi(name)
		if err != nil {
			continue // a mark of the kernel's own
		}
		if err := known.Apply(r.events[number]); err != nil {
			return nil, err
		}
	}
	known.Crashed()
	return known, nil
}
