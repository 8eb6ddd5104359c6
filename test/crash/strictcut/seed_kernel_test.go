//go:build kernel

package strictcut

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/crash/history"
	"github.com/csi-dm/csi-dm/test/crash/load"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestLoadFollowsFromItsSeed has the load work twice with one seed and once with another: each worker must do the same to its
// volumes in the same order, as far as both came. What overlaps with what, and how much is written meanwhile, may differ.
func TestLoadFollowsFromItsSeed(t *testing.T) {
	kerneltest.CheckClean(t)
	first, again, other := operations(t, 11), operations(t, 11), operations(t, 12)
	differs := false
	for worker := range first {
		common := min(len(first[worker]), len(again[worker]))
		if common < 5 {
			t.Errorf("worker %d: %d operations are too few to compare", worker, common)
		}
		if a, b := first[worker][:common], again[worker][:common]; !slices.Equal(a, b) {
			t.Errorf("worker %d did\n%s\nand with the same seed\n%s", worker, strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
		common = min(len(first[worker]), len(other[worker]))
		differs = differs || !slices.Equal(first[worker][:common], other[worker][:common])
		t.Logf("worker %d: %d and %d operations", worker, len(first[worker]), len(again[worker]))
	}
	if !differs {
		t.Error("two seeds gave the same operations")
	}
}

// operations has the load work on a new pool until each worker has begun some operations, and gives these by worker.
func operations(t *testing.T, seed uint64) (of [3][]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(klog.NewContext(t.Context(), klog.Background()), 2*time.Minute)
	defer cancel()
	dm := client(t)
	pool, err := thinpool.Open(ctx, dm, config(kerneltest.Disk(t, poolSize)))
	if err != nil {
		t.Fatal(err)
	}
	working, enough := context.WithCancel(ctx)
	defer enough()
	var mutex sync.Mutex
	told := func(e history.Event) {
		if e.Stage != history.Begin || e.Kind == history.Write {
			return
		}
		mutex.Lock()
		defer mutex.Unlock()
		var round, worker, number int
		if _, err := fmt.Sscanf(e.Volume, "v%d-%d-%d", &round, &worker, &number); err != nil {
			t.Error(err)
		}
		of[worker] = append(of[worker], fmt.Sprintf("%s %s of %d bytes, from %q", e.Kind, e.Volume, e.Size, e.Source))
		if !slices.ContainsFunc(of[:], func(done []string) bool { return len(done) < 12 }) {
			enough()
		}
	}
	err = load.Load{Pool: pool, Directory: t.TempDir(), Seed: seed, Workers: len(of), Volumes: 3, Tell: told}.Run(working)
	if err != nil {
		t.Error(err)
	}
	if err := pool.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	return of
}
