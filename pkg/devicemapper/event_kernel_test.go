//go:build kernel

package devicemapper_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

func eventNumber(ctx context.Context, t *testing.T, c *devicemapper.Client, ref devicemapper.Ref) uint32 {
	t.Helper()
	info, err := c.Info(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	return info.EventNumber
}

func TestWaitEndsWithContext(t *testing.T) {
	ctx, c := open(t)
	device := activate(ctx, t, c, "quiet", zeroTable)
	seen := eventNumber(ctx, t, c, device)

	began := time.Now()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(short, device, seen); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait: %v", err)
	}
	if took := time.Since(began); took < 50*time.Millisecond || took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if _, err := c.Wait(short, device, seen); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait in a context that has ended: %v", err)
	}
}

// eventPool is a pool that raises events at will.
type eventPool struct {
	pool
	thin devicemapper.Device
	next int // the block that raise writes
}

func newEventPool(ctx context.Context, t *testing.T, c *devicemapper.Client, name string) *eventPool {
	t.Helper()
	p := &eventPool{pool: pool{size: devicemapper.SectorsOf(8 * mebibyte), target: devicemapper.ThinPool{
		Metadata: disk(t, 16*mebibyte), Data: disk(t, 8*mebibyte), BlockSectors: 128, LowWaterBlocks: 128,
	}}}
	p.Device = activate(ctx, t, c, name, p.table())
	if err := c.CreateThin(ctx, p, 1); err != nil {
		t.Fatal(err)
	}
	p.thin = activate(ctx, t, c, name+"-thin", p.thinTable(1, 8*mebibyte))
	return p
}

// raise makes the pool raise its low-water event, which it does once for each
// resume, when it hands out a block.
func (p *eventPool) raise(ctx context.Context, t *testing.T, c *devicemapper.Client) {
	t.Helper()
	if err := c.Suspend(ctx, p, devicemapper.SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(ctx, p); err != nil {
		t.Fatal(err)
	}
	fill(t, p.thin.Path(), p.next, 1)
	p.next++
}

// An event that came before the wait ends it at once.
func TestWaitMissesNothing(t *testing.T) {
	ctx, c := open(t)
	p := newEventPool(ctx, t, c, "late")
	seen := eventNumber(ctx, t, c, p)
	p.raise(ctx, t, c)
	now, err := c.Wait(ctx, p, seen)
	if err != nil || now != seen+1 {
		t.Errorf("wait: %d, %v, want %d", now, err, seen+1)
	}
}

// The events of others wake the poller, not the caller.
func TestWaitWakesOnItsOwnEvent(t *testing.T) {
	ctx, c := open(t)
	mine, other := newEventPool(ctx, t, c, "mine"), newEventPool(ctx, t, c, "other")
	seen := eventNumber(ctx, t, c, mine)
	type outcome struct {
		number uint32
		err    error
	}
	woken := make(chan outcome, 1)
	var ioctls atomic.Int64
	count := funcr.New(func(_, _ string) { ioctls.Add(1) }, funcr.Options{Verbosity: 5})
	go func() {
		number, err := c.Wait(klog.NewContext(ctx, count), mine, seen)
		woken <- outcome{number, err}
	}()
	for range 20 {
		other.raise(ctx, t, c)
	}
	select {
	case o := <-woken:
		t.Fatalf("woken by another device: %+v", o)
	case <-time.After(100 * time.Millisecond):
	}
	// Two for each of the others' events, and as many to begin with.
	if got := ioctls.Load(); got > 2*20+10 {
		t.Errorf("%d ioctls to let 20 events pass", got)
	}
	mine.raise(ctx, t, c)
	o := <-woken
	if o.err != nil || o.number == seen {
		t.Errorf("%+v, want another number than %d", o, seen)
	}
}

// Following one event after another, none is missed.
func TestWaitFollowsEvents(t *testing.T) {
	ctx, c := open(t)
	p := newEventPool(ctx, t, c, "chain")
	first := eventNumber(ctx, t, c, p)
	const count = 50
	last := make(chan error, 1)
	go func() {
		for seen := first; seen < first+count; {
			var err error
			if seen, err = c.Wait(ctx, p, seen); err != nil {
				last <- err
				return
			}
		}
		last <- nil
	}()
	for range count {
		p.raise(ctx, t, c)
	}
	if err := <-last; err != nil {
		t.Error(err)
	}
}

func TestWaitOnRemovedDevice(t *testing.T) {
	ctx, c := open(t)
	device := activate(ctx, t, c, "removed", zeroTable)
	seen := eventNumber(ctx, t, c, device)
	woken := make(chan error, 1)
	go func() {
		_, err := c.Wait(ctx, device, seen)
		woken <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if _, err := c.Remove(ctx, device, devicemapper.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := <-woken; !errors.Is(err, devicemapper.ErrNotExist) {
		t.Errorf("wait on a device that goes: %v, want ErrNotExist", err)
	}
	if _, err := c.Wait(ctx, device, seen); !errors.Is(err, devicemapper.ErrNotExist) {
		t.Errorf("wait on a device that is gone: %v, want ErrNotExist", err)
	}
}

// The pool wakes its watcher when free data falls below the low-water mark.
func TestWaitForLowWater(t *testing.T) {
	ctx, c := open(t)
	p := newPool(ctx, t, c, 8*mebibyte, func(p *devicemapper.ThinPool) { p.LowWaterBlocks = 100 })
	thin := p.thin(ctx, t, c, 1, 8*mebibyte)
	fill(t, thin.Path(), 0, 10)
	seen := eventNumber(ctx, t, c, p)
	woken := make(chan error, 1)
	go func() {
		_, err := c.Wait(ctx, p, seen)
		woken <- err
	}()
	select {
	case err := <-woken:
		t.Fatalf("woken with 118 free blocks: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	fill(t, thin.Path(), 10, 30)
	if err := <-woken; err != nil {
		t.Error(err)
	}
	if status := poolStatus(ctx, t, c, p); status.FreeData() != 88 {
		t.Errorf("%d free blocks, want 88", status.FreeData())
	}
}

// Hundreds of waits hold no thread, and leave no goroutine.
func TestWaitHoldsNoThread(t *testing.T) {
	ctx, c := open(t)
	device := activate(ctx, t, c, "many", zeroTable)
	seen := eventNumber(ctx, t, c, device)
	goroutines, threads := runtime.NumGoroutine(), threadCount(t)

	waiting, cancel := context.WithCancel(ctx)
	var waits sync.WaitGroup
	const count = 300
	failed := make(chan error, count)
	for range count {
		waits.Go(func() {
			if _, err := c.Wait(waiting, device, seen); !errors.Is(err, context.Canceled) {
				failed <- err
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	if now := threadCount(t); now > threads+count/4 {
		t.Errorf("%d threads while %d wait, %d before", now, count, threads)
	}
	cancel()
	waits.Wait()
	close(failed)
	for err := range failed {
		t.Errorf("wait: %v", err)
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
		}
	}
}

func threadCount(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(tasks)
}
