//go:build kernel

package thinpool_test

import (
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestKilledWhileMaking kills the process at every failpoint of the making of a pool and opens it again.
func TestKilledWhileMaking(t *testing.T) {
	for _, name := range thinpool.Failpoints() {
		if !strings.HasPrefix(name, "make:") {
			continue
		}
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			kerneltest.CheckClean(t)
			dm, config := client(t), configOn(kerneltest.Disk(t, gib), kerneltest.Disk(t, 256*mib))
			result := runChild(t, childJob{Config: config, Script: "life", Failpoint: name}, outcome{}, 0)
			if !result.killed {
				t.Fatalf("the child did not come to %q", name)
			}
			recovered(t, dm, config, result)
		})
	}
}

// atLife tells whether a pool's ordinary life comes by a failpoint; the others have tests of their own.
func atLife(name string) bool {
	return !strings.HasPrefix(name, "make:") && !strings.HasPrefix(name, "take over:") && !strings.HasPrefix(name, "upgrade:") && !strings.HasPrefix(name, "grow:") && !strings.HasPrefix(name, "repair:") && !strings.HasPrefix(name, "format:") && !strings.HasPrefix(name, "group:")
}

// TestKilledAtFailpoints kills the process at every other failpoint, on one pool, and opens it again: what was acknowledged
// holds, the pool holds no thin device that the registry does not know, and every volume mounts.
func TestKilledAtFailpoints(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, config := client(t), configOn(kerneltest.Disk(t, gib), kerneltest.Disk(t, 256*mib))
	for i, name := range thinpool.Failpoints() {
		if !atLife(name) {
			continue
		}
		var known outcome
		if strings.HasPrefix(name, "recover:") {
			// Give recovery something to do: intents of volumes and of a base.
			for _, before := range []string{"base: intent durable", "delete: intent durable", "create: thin device made"} {
				if known = runChild(t, childJob{Config: config, Script: "life", Failpoint: before, Seed: uint64(i)}, known, 0); !known.killed {
					t.Fatalf("the child did not come to %q", before)
				}
			}
		}
		result := runChild(t, childJob{Config: config, Script: "life", Failpoint: name, Seed: uint64(i)}, known, 0)
		if !result.killed {
			t.Fatalf("the child did not come to %q", name)
		}
		recoveredAndEmptied(t, dm, config, result)
		if t.Failed() {
			t.Fatalf("killed at %q", name)
		}
	}
	open(t, dm, config)
}

// TestKilledUnderLoad kills the process in the middle of a load from many goroutines, several times on one pool.
func TestKilledUnderLoad(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, config := client(t), configOn(kerneltest.MachineDisk(t))
	config.OverprovisionMilli = 100_000
	rounds := 4
	if testing.Short() {
		rounds = 3
	}
	var known outcome
	operations := 0
	for round := range rounds {
		known = runChild(t, childJob{Config: config, Script: "load", Seed: uint64(round)}, known, 10*(round+1))
		if !known.killed {
			t.Fatal("the child was not killed")
		}
		operations += known.acknowledged
		recovered(t, dm, config, known)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	t.Logf("%d operations were acknowledged before %d kills", operations, rounds)
}

// recovered opens a pool that a child has left, checks and works with it, and shuts it down.
func recovered(t *testing.T, dm *devicemapper.Client, config thinpool.Config, result outcome) {
	t.Helper()
	finish(t, dm, reopened(t, dm, config, result))
}

// recoveredAndEmptied does the same, and deletes all volumes before it shuts the pool down.
func recoveredAndEmptied(t *testing.T, dm *devicemapper.Client, config thinpool.Config, result outcome) {
	t.Helper()
	p := reopened(t, dm, config, result)
	for _, v := range p.Volumes() {
		if err := p.DeleteVolume(testContext(t), v.Name); err != nil {
			t.Error(err)
		}
	}
	finish(t, dm, p)
}

// reopened opens a pool that a child has left, checks and works with it, and opens it again.
func reopened(t *testing.T, dm *devicemapper.Client, config thinpool.Config, result outcome) *thinpool.Pool {
	t.Helper()
	ctx := testContext(t)
	p, err := thinpool.Open(ctx, dm, config)
	if err != nil {
		t.Fatal(err)
	}
	result.check(t, p)
	checkIDs(t, dm, p)
	for i, v := range p.Volumes() {
		path := activate(t, p, v.Name)
		if i < 3 {
			mounted(t, path, v.Format.Type, func(string) {})
		}
		deactivate(t, p, v.Name)
	}
	spec := ext4("afterwards", 64*mib)
	create(t, p, spec)
	if err := p.DeleteVolume(ctx, spec.Name); err != nil {
		t.Error(err)
	}
	// Open again: what the first recovery decided is durable.
	closed(t, p)
	p = get(thinpool.Open(ctx, dm, config))(t)
	result.check(t, p)
	return p
}
