//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/crash/attached"
	"github.com/csi-dm/csi-dm/test/crash/history"
)

const mib = int64(1 << 20)

// operationLimit is far above what an operation takes.
const operationLimit = 2 * time.Minute

// worker does one thing after the other to its own volumes.
type worker struct {
	Load
	number   int
	random   *rand.Rand
	versions *atomic.Uint64
	made     int
	volumes  []*volume
}

type volume struct {
	name string
	raw  bool
	xfs  bool
	size int64
	used *attached.Volume // nil: not activated
}

func (w *worker) run(ctx context.Context) error {
	for ctx.Err() == nil {
		//nolint:contextcheck // a step is done to its end, whatever ends the load
		if err := w.step(); err != nil {
			return err
		}
	}
	for _, v := range w.volumes {
		//nolint:contextcheck // when the load has ended
		if err := w.release(v); err != nil {
			return err
		}
	}
	return nil
}

// step does one operation, to its end: what ends the load is the end of power, or patience between two steps.
func (w *worker) step() error {
	ctx, cancel := context.WithTimeout(context.Background(), operationLimit)
	defer cancel()
	if len(w.volumes) == 0 {
		return w.create(ctx)
	}
	v := w.volumes[w.random.IntN(len(w.volumes))]
	full := len(w.volumes) >= w.Volumes
	switch n := w.random.IntN(100); {
	case n < 15 && !full:
		return w.create(ctx)
	case n < 35 && !full:
		return w.snapshot(ctx, v)
	case n < 35:
		return w.remove(ctx, v)
	case n < 45:
		return w.grow(ctx, v)
	case n < 52:
		return w.release(v)
	}
	return w.write(ctx, v)
}

func (w *worker) newName() string {
	w.made++
	return fmt.Sprintf("v%d-%d-%d", w.Round, w.number, w.made)
}

func (w *worker) create(ctx context.Context) error {
	spec := thinpool.VolumeSpec{Name: w.newName(), Size: []int64{24, 40}[w.random.IntN(2)] * mib, Format: filesystem.Format{Type: filesystem.Ext4}}
	kind := string(filesystem.Ext4)
	switch w.random.IntN(5) {
	case 0:
		spec.Size, spec.Format.Type, kind = 8*mib, "", history.Raw
	case 1:
		spec.Size, spec.Format.Type, kind = filesystem.MinimumSize(filesystem.XFS), filesystem.XFS, string(filesystem.XFS)
	}
	e := history.Event{Kind: history.Create, Volume: spec.Name, Type: kind, Size: spec.Size}
	return w.making(e, func() error {
		_, err := w.Pool.CreateVolume(ctx, spec)
		return err
	})
}

// making tells that a volume is made.
func (w *worker) making(e history.Event, do func() error) error {
	if err := w.telling(e, do); err != nil {
		return err
	}
	w.volumes = append(w.volumes, &volume{name: e.Volume, raw: e.Type == history.Raw, xfs: e.Type == string(filesystem.XFS), size: e.Size})
	return nil
}

// telling tells that an operation begins and, unless it fails, that it was acknowledged.
func (w *worker) telling(e history.Event, do func() error) error {
	e.Stage = history.Begin
	w.Tell(e)
	if err := do(); err != nil {
		return fmt.Errorf("%s %s: %w", e.Kind, e.Volume, err)
	}
	e.Stage = history.Done
	w.Tell(e)
	return nil
}

// snapshot takes a snapshot, mostly while the source is mounted and written to.
func (w *worker) snapshot(ctx context.Context, source *volume) error {
	if w.random.IntN(4) > 0 {
		if err := w.use(ctx, source); err != nil {
			return err
		}
	}
	size := source.size + int64(w.random.IntN(2))*8*mib
	e := history.Event{Kind: history.Snapshot, Volume: w.newName(), Source: source.name, Size: size}
	switch {
	case source.raw:
		e.Type = history.Raw
	case source.xfs:
		e.Type = string(filesystem.XFS)
	}
	return w.whileWriting(source, func() error {
		return w.making(e, func() error {
			_, err := w.Pool.CreateVolume(ctx, thinpool.VolumeSpec{Name: e.Volume, Source: source.name, Size: size})
			return err
		})
	})
}

// grow makes a volume larger while it is written to, and its file system if it is mounted.
func (w *worker) grow(ctx context.Context, v *volume) error {
	if v.size > 600*mib {
		return nil
	}
	size := v.size + 8*mib
	growing := func() error {
		err := w.telling(history.Event{Kind: history.Grow, Volume: v.name, Size: size}, func() error {
			_, err := w.Pool.GrowVolume(ctx, v.name, size)
			return err
		})
		if err != nil {
			return err
		}
		v.size = size
		if v.used == nil || v.xfs {
			return nil
		}
		return v.used.Grow()
	}
	if err := w.whileWriting(v, growing); err != nil || v.used == nil || !v.xfs {
		return err
	}
	// Nothing is written while an xfs grows: before Linux 6.13 a power cut leaves a log that cannot be replayed, if that names
	// the new space before the superblock does on disk. That is nothing that a pool could change.
	return w.telling(history.Event{Kind: history.Fit, Volume: v.name}, func() error {
		return errors.Join(v.used.Settle(), v.used.Grow(), w.Pool.Checkpoint(ctx, v.name))
	})
}

// remove deletes a volume that is not mounted, active or not.
func (w *worker) remove(ctx context.Context, v *volume) error {
	if v.used != nil {
		if err := v.used.Unmount(); err != nil {
			return err
		}
		v.used = nil
	}
	w.volumes = slices.DeleteFunc(w.volumes, func(other *volume) bool { return other == v })
	return w.telling(history.Event{Kind: history.Delete, Volume: v.name}, func() error { return w.Pool.DeleteVolume(ctx, v.name) })
}

// use activates and mounts a volume.
func (w *worker) use(ctx context.Context, v *volume) error {
	if v.used != nil {
		return nil
	}
	return w.telling(history.Event{Kind: history.Fit, Volume: v.name}, func() (err error) {
		v.used, err = attached.Open(ctx, w.Pool, w.Directory, v.name, true)
		return err
	})
}

// release takes a volume out of use.
func (w *worker) release(v *volume) error {
	if v.used == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), operationLimit)
	defer cancel()
	err := v.used.Close(ctx)
	v.used = nil
	return err
}

func (w *worker) write(ctx context.Context, v *volume) error {
	if err := w.use(ctx, v); err != nil {
		return err
	}
	return w.writer(v).some(1 + w.random.IntN(6))
}

// whileWriting does something while the volume, if it is in use, is being written to.
func (w *worker) whileWriting(v *volume, do func() error) error {
	if v.used == nil {
		return do()
	}
	writer := w.writer(v)
	// Dirty pages from before, so that there is something that must not be missed.
	if err := writer.some(2); err != nil {
		return err
	}
	enough, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- writer.until(enough) }()
	err := do()
	close(enough)
	return errors.Join(err, <-ended)
}

// writer writes to a volume; it has randomness of its own, since it may do so beside its worker.
func (w *worker) writer(v *volume) *writer {
	return &writer{volume: v.used, tell: w.Tell, versions: w.versions, random: rand.New(rand.NewPCG(w.random.Uint64(), 0))}
}
