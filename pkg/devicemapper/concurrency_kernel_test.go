//go:build kernel

package devicemapper_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/go-logr/logr/funcr"
	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// One client, many goroutines, each with thin devices of its own.
func TestConcurrentUse(t *testing.T) {
	ctx, c := open(t)
	p := newPool(ctx, t, c, 64*mebibyte, nil)
	const workers, rounds = 8, 20
	failed := make(chan error, workers)
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for round := range rounds {
				if err := thinLife(ctx, c, p, devicemapper.ThinID(worker*rounds+round)); err != nil {
					failed <- fmt.Errorf("worker %d, round %d: %w", worker, round, err)
					return
				}
			}
		})
	}
	group.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	if status := poolStatus(ctx, t, c, p); status.UsedData != 0 || !status.Healthy() {
		t.Errorf("status afterwards: %+v", status)
	}
}

// thinLife makes a thin device, sees it in the list, and removes it again.
func thinLife(ctx context.Context, c *devicemapper.Client, p pool, id devicemapper.ThinID) error {
	if err := c.CreateThin(ctx, p, id); err != nil {
		return err
	}
	name := fmt.Sprintf("concurrent-%d", id)
	device, err := c.Activate(ctx, devicemapper.Name(name), devicemapper.UUID("TEST-"+name), p.thinTable(id, mebibyte))
	if err != nil {
		return err
	}
	devices, err := c.List(ctx)
	if err != nil {
		return err
	}
	found := 0
	for _, listed := range devices {
		if listed.Device == device {
			found++
		}
	}
	if found != 1 {
		return fmt.Errorf("%s is %d times in the list", name, found)
	}
	if status, err := c.ThinStatus(ctx, device); err != nil {
		return err
	} else if status.State != devicemapper.ThinStateOK {
		return fmt.Errorf("status %+v", status)
	}
	if _, err := c.Remove(ctx, device, devicemapper.RemoveOptions{}); err != nil {
		return err
	}
	return c.DeleteThin(ctx, p, id)
}

// Close lets calls that have begun finish and refuses later ones.
func TestCloseWhileInUse(t *testing.T) {
	ctx, c := open(t)
	device := activate(ctx, t, c, "closing", zeroTable)
	for range 20 {
		other, err := devicemapper.Open()
		if err != nil {
			t.Fatal(err)
		}
		outcome := make(chan error, 4)
		for range cap(outcome) {
			go func() {
				for {
					if _, err := other.Info(ctx, device); err != nil {
						outcome <- err
						return
					}
				}
			}()
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
		for range cap(outcome) {
			if err := <-outcome; !errors.Is(err, os.ErrClosed) {
				t.Errorf("info on a closing client: %v, want os.ErrClosed", err)
			}
		}
	}
}

// Each ioctl is traced at verbosity 5 and nothing is said below.
func TestTrace(t *testing.T) {
	ctx, c := open(t)
	for verbosity, want := range map[int]int{4: 0, 5: 1} {
		var lines []string
		logger := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{Verbosity: verbosity})
		if _, err := c.List(klog.NewContext(ctx, logger)); err != nil {
			t.Fatal(err)
		}
		if len(lines) != want {
			t.Errorf("%d lines at verbosity %d, want %d: %q", len(lines), verbosity, want, lines)
		}
	}
}
