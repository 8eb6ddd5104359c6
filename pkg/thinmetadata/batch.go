package thinmetadata

import (
	"cmp"
	"context"
	"slices"
	"unsafe"
)

// batchBlocks is how many blocks are read before the first of them is looked at: 256 KiB. Those of them that lie side by
// side are one read.
const batchBlocks = 64

// batch is memory for some blocks, at an address that direct I/O takes.
type batch []Block

func newBatch(blocks int) batch {
	raw := make([]byte, (blocks+1)*BlockSize)
	shift := -int(uintptr(unsafe.Pointer(&raw[0]))) & (BlockSize - 1) //nolint:gosec // an address is looked at, none is made
	return unsafe.Slice((*Block)(raw[shift:shift+BlockSize]), blocks) //nolint:gosec // raw has a block to spare
}

func bytesOf(blocks []Block) []byte {
	return unsafe.Slice(&blocks[0][0], len(blocks)*BlockSize) //nolint:gosec // the same memory, byte by byte
}

// fill reads the numbered blocks, at most as many as the batch has room for, and returns where each came to lie. They may
// be in any order, so that a node's children can be visited in the order of their keys and read in that of their addresses.
func (b batch) fill(d *Device, numbers []uint64) (places []int, err error) {
	order := make([]int, len(numbers))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int { return cmp.Compare(numbers[x], numbers[y]) })
	places = make([]int, len(numbers))
	for at := 0; at < len(order); {
		first, end := numbers[order[at]], at+1
		for end < len(order) && numbers[order[end]] == first+uint64(end-at) {
			end++
		}
		if err := d.read(first, b[at:end]); err != nil {
			return nil, err
		}
		for ; at < end; at++ {
			places[order[at]] = at
		}
	}
	return places, nil
}

// each reads the numbered blocks in batches and visits them in the order of numbers.
func (d *Device) each(ctx context.Context, numbers []uint64, visit func(i int, block *Block) error) error {
	if len(numbers) == 0 {
		return nil
	}
	memory := newBatch(min(batchBlocks, len(numbers)))
	for done := 0; done < len(numbers); done += len(memory) {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		places, err := memory.fill(d, numbers[done:min(done+len(memory), len(numbers))])
		if err != nil {
			return err
		}
		for i, place := range places {
			if err := visit(done+i, &memory[place]); err != nil {
				return err
			}
		}
	}
	return nil
}
