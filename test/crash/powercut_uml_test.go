//go:build uml

package crash

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/test/crash/history"
	"github.com/csi-dm/csi-dm/test/crash/job"
	"github.com/csi-dm/csi-dm/test/kerneltest/runner"
)

var (
	cuts = flag.Int("cuts", 20, "how many power cuts")
	seed = flag.Uint64("seed", 0, "seed of the first machine; 0 draws one")
	keep = flag.String("keep", "", "directory to put the disks of a machine into that failed")
)

// cutsPerMachine is how many cuts the disks of one machine go through, one after the other, before new ones are taken.
const cutsPerMachine = 10

// TestPowerCuts cuts the power of guests at random moments. After each cut all that was acknowledged must hold.
func TestPowerCuts(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64N(1_000_000) + 1
	}
	t.Logf("%d power cuts, seed %d", *cuts, *seed)
	directory, disks, init := workspace(t)
	var mutex sync.Mutex
	all := newTotals()
	began := time.Now()
	t.Run("machines", func(t *testing.T) {
		for left, number := *cuts, uint64(0); left > 0; left, number = left-cutsPerMachine, number+1 {
			seed, cuts := *seed+number, min(left, cutsPerMachine)
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				m, err := newMachine(directory, disks, init, seed)
				if err != nil {
					t.Fatal(err)
				}
				cutAndJudge(t, m, cuts)
				mutex.Lock()
				defer mutex.Unlock()
				all.add(m.total)
			})
		}
	})
	t.Logf("after %s: %d inspections of %d volumes and %d sectors; cut in %v, on %v; acknowledged %v",
		time.Since(began).Round(time.Second), all.inspections, all.result.Volumes, all.result.Sectors, all.cutIn, all.cutOn, all.acknowledged)
	if t.Failed() || *cuts < 20 {
		return
	}
	// A test that has seen nothing must not pass.
	for _, kind := range []history.Kind{history.Create, history.Snapshot, history.Grow, history.Delete, history.Write, history.Sync} {
		if all.acknowledged[kind] == 0 {
			t.Errorf("no %s was acknowledged", kind)
		}
	}
	if all.inspections < *cuts/2 || all.result.Volumes == 0 || all.result.Sectors == 0 || all.cutIn[job.Loading] == 0 {
		t.Error("the tests have seen too little")
	}
}

// cutAndJudge cuts a machine's power a number of times, and looks at it once more at the end.
func cutAndJudge(t *testing.T, m *machine, cuts int) {
	t.Helper()
	for cut := range cuts + 1 {
		var p *plan
		if cut < cuts {
			planned := planOf(m.seed, cut)
			p = &planned
		}
		if err := m.boot(t.Context(), p); err != nil {
			t.Errorf("pool on %s, boot %d, planned cut: %v: %v", job.SourceOf(m.seed), cut, p, err)
			t.Errorf("replay it: make crash-test SEED=%d CUTS=%d", m.seed, max(cut, 1))
			m.keep(t)
			return
		}
	}
	t.Logf("%d power cuts have passed on %s", cuts, job.SourceOf(m.seed)) // for who ends the test before its end
	for _, disk := range m.disks {
		if err := os.Remove(disk); err != nil {
			t.Error(err)
		}
	}
}

// keep copies the disks for who wants to look at them.
func (m *machine) keep(t *testing.T) {
	t.Helper()
	if *keep == "" {
		return
	}
	for _, disk := range m.disks {
		target := filepath.Join(*keep, filepath.Base(disk))
		if output, err := exec.Command("cp", "--sparse=always", "--", disk, target).CombinedOutput(); err != nil {
			t.Errorf("keep disk: %v: %s", err, output)
			continue
		}
		t.Logf("kept %s", target)
	}
}

func (t *totals) add(other totals) {
	for kind, n := range other.acknowledged {
		t.acknowledged[kind] += n
	}
	for phase, n := range other.cutIn {
		t.cutIn[phase] += n
	}
	for source, n := range other.cutOn {
		t.cutOn[source] += n
	}
	t.inspections += other.inspections
	t.result.Volumes += other.result.Volumes
	t.result.Sectors += other.result.Sectors
}

// workspace gives directories for the machines and for their disks, and process 1 of the guests.
func workspace(t *testing.T) (directory, disks, init string) {
	t.Helper()
	cache, err := runner.DefaultCache()
	if err != nil {
		t.Fatal(err)
	}
	made := func(parent string) string {
		directory, remove, err := runner.NewWorkspace(parent)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := remove(); err != nil {
				t.Error(err)
			}
		})
		return directory
	}
	directory = made(cache)
	disks = directory
	if _, err := os.Stat("/dev/shm"); err == nil {
		disks = made("/dev/shm") // memory is faster
	}
	init = filepath.Join(directory, "crash-guest")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", init, "./cmd/crash-guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
	return directory, disks, init
}
