package thinpool

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// TestSharedStatusIsLater: nobody gets a status that was read before it asked.
func TestSharedStatusIsLater(t *testing.T) {
	var shared sharedStatus
	var clock, readings atomic.Int64
	get := func() (devicemapper.ThinPoolStatus, error) {
		readings.Add(1)
		return devicemapper.ThinPoolStatus{TransactionID: uint64(clock.Add(1))}, nil
	}
	const callers, calls = 16, 500
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for range calls {
				asked := clock.Add(1)
				status, err := shared.read(get)
				if err != nil || int64(status.TransactionID) < asked {
					t.Errorf("asked at %d, read at %d, %v", asked, status.TransactionID, err)
				}
			}
		})
	}
	group.Wait()
	t.Logf("%d calls, %d readings", callers*calls, readings.Load())
}

// TestSharedStatusIsShared: all who ask during one reading share the next one, its error too.
func TestSharedStatusIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shared sharedStatus
		var readings atomic.Int64
		failure := errors.New("failure")
		get := func() (devicemapper.ThinPoolStatus, error) {
			time.Sleep(time.Second)
			return devicemapper.ThinPoolStatus{TransactionID: uint64(readings.Add(1))}, failure
		}
		var group sync.WaitGroup
		for i := range 10 {
			group.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				want := uint64(2)
				if i == 0 {
					want = 1
				}
				if status, err := shared.read(get); status.TransactionID != want || !errors.Is(err, failure) {
					t.Errorf("caller %d got reading %d, %v; want %d", i, status.TransactionID, err, want)
				}
			})
		}
		group.Wait()
	})
}
