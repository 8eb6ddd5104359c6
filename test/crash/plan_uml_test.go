//go:build uml

package crash

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/test/crash/history"
	"github.com/csi-dm/csi-dm/test/crash/job"
)

// plan says when the power is cut: delay after a phase has begun and that many events were told in it.
type plan struct {
	phase  job.Phase
	events int
	delay  time.Duration
}

// Longest delays. Opening a pool takes some ten milliseconds, making one some hundred.
const (
	openingDelay    = 400 * time.Millisecond
	inspectingDelay = 1500 * time.Millisecond
	loadingDelay    = 20 * time.Millisecond
	loadingEvents   = 250
)

// planOf draws the plan of a boot.
func planOf(seed uint64, boot int) plan {
	random := rand.New(rand.NewPCG(seed, uint64(boot)))
	within := func(longest time.Duration) time.Duration { return time.Duration(random.Int64N(int64(longest))) }
	switch n := random.IntN(100); {
	case n < 15:
		return plan{phase: job.Opening, delay: within(openingDelay)}
	case n < 25:
		return plan{phase: job.Inspecting, delay: within(inspectingDelay)}
	case n < 30:
		return plan{phase: job.Reopening, delay: within(openingDelay)}
	}
	return plan{phase: job.Loading, events: random.IntN(loadingEvents), delay: within(loadingDelay)}
}

func (p plan) String() string {
	return fmt.Sprintf("%s after %d events of phase %q", p.delay, p.events, p.phase)
}

// watch tells by the messages when the plan is met.
type watch struct {
	plan
	inPhase bool
	told    int
}

// met takes a message in and reports whether it is the one that the delay begins with.
func (w *watch) met(m job.Message) bool {
	switch {
	case m.Phase == w.phase:
		w.inPhase = true
		return w.events == 0
	case m.Phase != "":
		w.inPhase = false
	case m.Event != nil && w.inPhase:
		w.told++
		return w.told == w.events
	}
	return false
}

func TestPlanFollowsFromItsSeed(t *testing.T) {
	phases := map[job.Phase]int{}
	for boot := range 1000 {
		if again := planOf(7, boot); again != planOf(7, boot) {
			t.Fatalf("boot %d has two plans", boot)
		}
		phases[planOf(7, boot).phase]++
	}
	for _, phase := range []job.Phase{job.Opening, job.Inspecting, job.Reopening, job.Loading} {
		if phases[phase] < 20 {
			t.Errorf("%d of 1000 cuts in phase %s", phases[phase], phase)
		}
	}
	if planOf(7, 1) == planOf(8, 1) {
		t.Error("two seeds have one plan")
	}
}

func TestWatch(t *testing.T) {
	event := job.Message{Event: &history.Event{}}
	for _, test := range []struct {
		plan     plan
		messages []job.Message
		want     int // index of the message that meets it; -1: none
	}{
		{plan{phase: job.Opening}, []job.Message{{Phase: job.Opening}, event}, 0},
		{plan{phase: job.Loading, events: 2}, []job.Message{{Phase: job.Inspecting}, event, event, {Phase: job.Loading}, event, event, event}, 5},
		{plan{phase: job.Inspecting, events: 2}, []job.Message{{Phase: job.Inspecting}, event, {Phase: job.Loading}, event}, -1},
	} {
		w, got := watch{plan: test.plan}, -1
		for i, m := range test.messages {
			if w.met(m) {
				if got != -1 {
					t.Errorf("%s: met twice", test.plan)
				}
				got = i
			}
		}
		if got != test.want {
			t.Errorf("%s: met at message %d, want %d", test.plan, got, test.want)
		}
	}
}

func TestSourcesFollowFromTheSeed(t *testing.T) {
	seen := map[job.Source]int{}
	for seed := range uint64(10) {
		seen[job.SourceOf(seed)]++
	}
	for source, want := range map[job.Source]int{job.Devices: 6, job.HandedOver: 2, job.Loopback: 2} {
		if seen[source] != want {
			t.Errorf("%d of 10 machines on %s, want %d", seen[source], source, want)
		}
	}
}
