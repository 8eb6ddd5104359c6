//go:build linux

package kerneltest

import (
	"strings"
	"testing"
	"time"
)

// cleanPatience is how long leftovers may take to go by themselves: the kernel finishes deferred removals and the closing
// of loop devices and file systems behind the caller's back.
const cleanPatience = 2 * time.Second

// CheckClean fails the test at its end if there is a device-mapper device, a mount or a loop device that was not there when
// CheckClean was called. Call it first: what is registered first runs last. It then takes the leftovers down as well as it
// can, so that the next test does not fail for this one.
func CheckClean(t testing.TB) {
	t.Helper()
	requireGuest(t)
	before, err := observe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := awaitClean(before)
		if err != nil {
			t.Fatal(err)
		}
		if found := left.list(); len(found) > 0 {
			t.Errorf("the test left behind:\n\t%s", strings.Join(found, "\n\t"))
			for _, failure := range left.takeDown() {
				t.Logf("taking down what was left: %v", failure)
			}
		}
	})
}

// awaitClean returns what is left after a while.
func awaitClean(before leftovers) (leftovers, error) {
	for deadline := time.Now().Add(cleanPatience); ; time.Sleep(10 * time.Millisecond) {
		now, err := observe()
		if err != nil {
			return leftovers{}, err
		}
		left := now.without(before)
		if len(left.list()) == 0 || time.Now().After(deadline) {
			return left, nil
		}
	}
}
