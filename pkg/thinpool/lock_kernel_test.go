//go:build kernel

package thinpool_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// hold opens a pool and says what came of it; an open pool gets a volume and is held until nobody reads standard input's other
// end any more.
func (j childJob) hold(ctx context.Context, dm *devicemapper.Client) error {
	say := reporter()
	p, err := thinpool.Open(ctx, dm, j.Config)
	switch {
	case errors.Is(err, thinpool.ErrDeviceInUse):
		say(fact{Op: "refused", Name: err.Error()})
		return nil
	case err != nil:
		return err
	}
	if _, err := p.CreateVolume(ctx, raw(fmt.Sprintf("of-%d", j.Seed), mib)); err != nil {
		return errors.Join(err, p.Close())
	}
	say(fact{Op: "opened", Done: true})
	_, _ = io.Copy(io.Discard, os.Stdin)
	return p.Close()
}

// holder is another process that has a pool open, or was refused it.
type holder struct {
	t       *testing.T
	command *exec.Cmd
	let     io.Closer
	said    *bufio.Scanner
	seed    uint64
}

func startHolder(t *testing.T, config thinpool.Config, seed uint64) *holder {
	t.Helper()
	text, err := json.Marshal(childJob{Config: config, Script: "hold", Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{t: t, command: exec.CommandContext(testContext(t), os.Args[0]), seed: seed}
	h.command.Env = append(os.Environ(), childVariable+"="+string(text))
	h.command.Stderr = os.Stderr
	h.let = get(h.command.StdinPipe())(t)
	h.said = bufio.NewScanner(get(h.command.StdoutPipe())(t))
	if err := h.command.Start(); err != nil {
		t.Fatal(err)
	}
	return h
}

// opened waits until the process says whether it has the pool.
func (h *holder) opened() bool {
	h.t.Helper()
	var f fact
	if !h.said.Scan() {
		h.t.Fatalf("process %d says nothing: %v, %v", h.seed, h.said.Err(), h.command.Wait())
	}
	if err := json.Unmarshal(h.said.Bytes(), &f); err != nil {
		h.t.Fatalf("process %d says %q", h.seed, h.said.Text())
	}
	h.t.Logf("process %d: %s %s", h.seed, f.Op, f.Name)
	return f.Op == "opened"
}

// letGo has the process close the pool and end.
func (h *holder) letGo() {
	h.t.Helper()
	if err := errors.Join(h.let.Close(), h.command.Wait()); err != nil {
		h.t.Errorf("process %d: %v", h.seed, err)
	}
}

// TestTwoProcesses: of processes that open one pool at once, on devices that no pool is on yet and on one that is there, one has
// it and the others are refused; so are a check and another opening here, which change nothing. Who closes the pool, or is
// killed, gives it to the next.
func TestTwoProcesses(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, config := client(t), testContext(t), configOn(kerneltest.Disk(t, gib))
	var names []string // of the volumes that the holders have made
	for round := range 2 {
		holders := []*holder{startHolder(t, config, uint64(2*round)), startHolder(t, config, uint64(2*round+1))}
		// Who has it keeps it until told, so that the other one is refused whichever came first.
		first, second := holders[0].opened(), holders[1].opened()
		if first == second {
			t.Fatalf("round %d: the first has the pool: %t, the second: %t", round, first, second)
		}
		has, refusedOne := holders[0], holders[1]
		if second {
			has, refusedOne = refusedOne, has
		}
		names = append(names, fmt.Sprintf("of-%d", has.seed))
		refusedOne.letGo()
		if p, err := thinpool.Open(ctx, dm, config); !errors.Is(err, thinpool.ErrDeviceInUse) {
			t.Errorf("round %d: a third opening: %v, %v", round, p, err)
		}
		if report, err := thinpool.Check(ctx, dm, config); !errors.Is(err, thinpool.ErrDeviceInUse) {
			t.Errorf("round %d: a check: %+v, %v", round, report, err)
		}
		if round == 0 {
			has.letGo()
			continue
		}
		// The kernel lets go of the lock of a process that has died.
		if err := has.command.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = has.command.Wait()
	}
	p := open(t, dm, config)
	for _, name := range names {
		if _, err := p.Volume(name); err != nil {
			t.Errorf("volume %s of the process that had the pool: %v", name, err)
		}
	}
	late := startHolder(t, config, 9)
	if late.opened() {
		t.Error("another process has opened a pool that is open here")
	}
	late.letGo()
	create(t, p, ext4("after", 64*mib))
	if volumes := p.Volumes(); len(volumes) != len(names)+1 {
		t.Errorf("%+v", volumes)
	}
}
