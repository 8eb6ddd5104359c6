//go:build kernel

package thinpool_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// inParallel runs do from n goroutines at once and waits for them.
func inParallel(n int, do func(i int)) {
	var group sync.WaitGroup
	for i := range n {
		group.Add(1)
		go func() { defer group.Done(); do(i) }()
	}
	group.Wait()
}

// TestConcurrentLives has 64 goroutines take volumes through their lives, of two sizes and file systems that nobody asked
// for before, so that they wait for four bases.
func TestConcurrentLives(t *testing.T) {
	kerneltest.CheckClean(t)
	config := configOn(kerneltest.MachineDisk(t))
	config.OverprovisionMilli = 100_000
	p := open(t, client(t), config)
	ctx := testContext(t)
	const workers, each = 64, 2
	inParallel(workers, func(worker int) {
		for i := range each {
			size := []int64{320 * mib, 384 * mib}[worker%2]
			spec := ext4(fmt.Sprintf("v-%d-%d", worker, i), size)
			if worker%4 < 2 {
				spec = xfs(spec.Name, size)
			}
			if _, err := p.CreateVolume(ctx, spec); err != nil {
				t.Error(err)
				return
			}
			if _, err := p.Activate(ctx, spec.Name); err != nil {
				t.Error(err)
			}
			if err := p.Deactivate(ctx, spec.Name); err != nil {
				t.Error(err)
			}
			if i%2 == 0 {
				if err := p.DeleteVolume(ctx, spec.Name); err != nil {
					t.Error(err)
				}
			}
		}
	})
	volumes := p.Volumes()
	if len(volumes) != workers*each/2 {
		t.Errorf("%d volumes are left", len(volumes))
	}
	if status := get(p.Status(ctx))(t); status.Bases != 4 || status.PromisedBytes != workers*each/2*352*mib {
		t.Errorf("%d bases, %d bytes are promised", status.Bases, status.PromisedBytes)
	}
	var ids []uint32
	for _, v := range volumes {
		ids = append(ids, v.ThinID)
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != len(volumes) {
		t.Error("a thin id belongs to two volumes")
	}
	for _, i := range []int{0, len(volumes) / 2, len(volumes) - 1} {
		mounted(t, activate(t, p, volumes[i].Name), volumes[i].Format.Type, func(string) {})
		deactivate(t, p, volumes[i].Name)
	}
}

// TestConcurrentCallsForOneName: all get the same volume, one base is made, and of differing specs one wins.
func TestConcurrentCallsForOneName(t *testing.T) {
	kerneltest.CheckClean(t)
	p := open(t, client(t), configOn(kerneltest.Disk(t, 2*gib)))
	ctx := testContext(t)
	ids := make([]uint32, 32)
	inParallel(len(ids), func(i int) {
		v, err := p.CreateVolume(ctx, ext4("same", 64*mib))
		if err != nil {
			t.Error(err)
		}
		ids[i] = v.ThinID
	})
	if len(slices.Compact(ids)) != 1 {
		t.Errorf("thin ids %v", ids)
	}
	won := make([]bool, 16)
	inParallel(len(won), func(i int) {
		_, err := p.CreateVolume(ctx, ext4("differing", int64(32+i)*mib))
		if won[i] = err == nil; err != nil && !errors.Is(err, thinpool.ErrVolumeExists) {
			t.Error(err)
		}
	})
	winners := 0
	for _, w := range won {
		if w {
			winners++
		}
	}
	if winners != 1 {
		t.Errorf("%d of the differing specs won", winners)
	}
	paths := make([]string, 32)
	inParallel(len(paths), func(i int) {
		var err error
		if paths[i], err = p.Activate(ctx, "same"); err != nil {
			t.Error(err)
		}
	})
	if len(slices.Compact(paths)) != 1 {
		t.Errorf("paths %v", paths)
	}
	inParallel(32, func(int) {
		if err := p.DeleteVolume(ctx, "same"); err != nil {
			t.Error(err)
		}
	})
	if _, err := p.Volume("same"); !errors.Is(err, thinpool.ErrVolumeNotFound) {
		t.Error(err)
	}
}

// TestReconfigureUnderLoad reloads the pool's table again and again while volumes are made, activated and deleted: no call
// meets the moment in which the pool is suspended.
func TestReconfigureUnderLoad(t *testing.T) {
	kerneltest.CheckClean(t)
	config := configOn(kerneltest.Disk(t, 2*gib))
	p := open(t, client(t), config)
	ctx := testContext(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		inParallel(8, func(worker int) {
			for i := range 12 {
				name := fmt.Sprintf("v-%d-%d", worker, i)
				if _, err := p.CreateVolume(ctx, ext4(name, 32*mib)); err != nil {
					t.Error(err)
					return
				}
				if _, err := p.Activate(ctx, name); err != nil {
					t.Error(err)
				}
				if err := p.DeleteVolume(ctx, name); err != nil {
					t.Error(err)
				}
			}
		})
	}()
	reloads := 0
	for ; ; reloads++ {
		select {
		case <-done:
			if reloads < 20 {
				t.Errorf("only %d reloads", reloads)
			}
			return
		default:
		}
		config.ErrorIfNoSpace = reloads%2 == 0
		if err := p.Reconfigure(ctx, config); err != nil {
			t.Error(err)
		}
	}
}

// TestCloseUnderLoad closes a pool in the middle of calls: each of them ends well or with ErrPoolClosed, and none is half
// done afterwards.
func TestCloseUnderLoad(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, config := client(t), configOn(kerneltest.Disk(t, 2*gib))
	ctx := testContext(t)
	acknowledged := map[string]bool{}
	var mutex sync.Mutex
	for round := range 4 {
		p := get(thinpool.Open(ctx, dm, config))(t)
		var group sync.WaitGroup
		group.Add(1)
		go func() {
			defer group.Done()
			inParallel(16, func(worker int) {
				for i := 0; ; i++ {
					name := fmt.Sprintf("v-%d-%d-%d", round, worker, i)
					_, err := p.CreateVolume(ctx, raw(name, 64<<10))
					if err != nil {
						if !errors.Is(err, thinpool.ErrPoolClosed) {
							t.Error(err)
						}
						return
					}
					mutex.Lock()
					acknowledged[name] = true
					if i == 4 && worker == 0 {
						group.Add(1)
						go func() { defer group.Done(); closed(t, p) }()
					}
					mutex.Unlock()
				}
			})
		}()
		group.Wait()
	}
	p := open(t, dm, config)
	if len(p.Volumes()) != len(acknowledged) {
		t.Errorf("%d volumes, %d were acknowledged", len(p.Volumes()), len(acknowledged))
	}
	for _, v := range p.Volumes() {
		if !acknowledged[v.Name] {
			t.Errorf("%s was not acknowledged", v.Name)
		}
	}
}

// TestBasesAreEvicted: the least recently used base goes when there are too many, and its volumes stay whole.
func TestBasesAreEvicted(t *testing.T) {
	kerneltest.CheckClean(t)
	thinpool.SetMaximumBases(2)
	defer thinpool.SetMaximumBases(64)
	p := open(t, client(t), configOn(kerneltest.Disk(t, 2*gib)))
	ctx := testContext(t)
	for i, size := range []int64{32, 33, 34, 32} {
		create(t, p, ext4(fmt.Sprintf("v-%d", i), size*mib))
		if size == 33 {
			create(t, p, ext4("again", 32*mib)) // 33 is now the one that was not used for longest
		}
	}
	// The eviction runs behind the creation that caused it; Close waits for it.
	closed(t, p)
	p = open(t, client(t), p.Config())
	status := get(p.Status(ctx))(t)
	if status.Bases != 2 || status.Volumes != 5 {
		t.Errorf("%d bases, %d volumes", status.Bases, status.Volumes)
	}
	if next := create(t, p, ext4("last", 32*mib)); int(next.ThinID) != status.Bases+status.Volumes+1 {
		t.Errorf("thin id %d: the base of 32 MiB was made anew", next.ThinID)
	}
	for _, v := range p.Volumes() {
		mounted(t, activate(t, p, v.Name), "ext4", func(string) {})
		deactivate(t, p, v.Name)
	}
}
