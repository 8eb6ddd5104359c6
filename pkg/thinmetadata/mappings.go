package thinmetadata

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// ErrNoThin says that the metadata holds no thin device of that id.
var ErrNoThin = errors.New("no such thin device")

// The tree of mappings has two levels of trees: thin id → root, virtual block → data block and time. In the latter the
// time is the lower 24 bits (pack_block_time of dm-thin-metadata.c).
const timeBits = 24

// Mapping is a run of blocks that lie side by side both in a thin device and in the pool's data, and were mapped at the
// same Time. Virtual, Data and Blocks count data blocks of the pool.
type Mapping struct {
	Virtual, Data, Blocks uint64
	// Time is the lower 24 bits of the superblock's at which the blocks were mapped.
	Time uint32
}

// thinRoot is the root of a thin device's own tree.
type thinRoot struct {
	id   uint32
	root uint64
}

// roots lists the thin devices of the superblock's tree of mappings, in the order of their ids.
func (d *Device) roots(ctx context.Context, s Superblock) ([]thinRoot, error) {
	var found []thinRoot
	err := d.walkTree(ctx, s.MappingRoot, pointerSize, func(leaf node) error {
		for i := range leaf.entries {
			id, err := thinID(leaf.key(i))
			if err != nil {
				return err
			}
			found = append(found, thinRoot{id, leaf.number(i)})
		}
		return nil
	})
	return found, err
}

// errStop ends a walk whose caller has enough.
var errStop = errors.New("stop")

// Mappings gives the mappings of a thin device in ascending order, the longest runs that there are. An error is the last
// that it gives: ErrNoThin, ErrDamaged or the device's. It holds some hundred KiB of memory however much is mapped.
func (d *Device) Mappings(ctx context.Context, s Superblock, thin uint32) iter.Seq2[Mapping, error] {
	return func(yield func(Mapping, error) bool) {
		var run Mapping
		err := d.mappings(ctx, s, thin, func(virtual, data uint64, time uint32) error {
			if run.Blocks > 0 && virtual == run.Virtual+run.Blocks && data == run.Data+run.Blocks && time == run.Time {
				run.Blocks++
				return nil
			}
			if run.Blocks > 0 && !yield(run, nil) {
				return errStop
			}
			run = Mapping{virtual, data, 1, time}
			return nil
		})
		if errors.Is(err, errStop) || run.Blocks > 0 && err == nil && !yield(run, nil) {
			return
		}
		if err != nil {
			yield(Mapping{}, err)
		}
	}
}

func (d *Device) mappings(ctx context.Context, s Superblock, thin uint32, visit func(virtual, data uint64, time uint32) error) error {
	roots, err := d.roots(ctx, s)
	if err != nil {
		return err
	}
	for _, r := range roots {
		if r.id != thin {
			continue
		}
		return d.walkTree(ctx, r.root, pointerSize, func(leaf node) error {
			for i := range leaf.entries {
				value := leaf.number(i)
				if err := visit(leaf.key(i), value>>timeBits, uint32(value&(1<<timeBits-1))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return fmt.Errorf("%w: %d", ErrNoThin, thin)
}
