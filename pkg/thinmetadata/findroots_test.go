package thinmetadata

import (
	"encoding/binary"
	"errors"
	"testing"
)

// layNode lays out a node of a tree at a block of a device.
func layNode(blocks []*Block, number uint64, flags uint32, valueSize int, keys []uint64, value func(i int, into []byte)) {
	blocks[number] = sealed(number, func(block *Block) {
		most := (BlockSize - nodeHeaderSize) / (8 + valueSize) / 3 * 3
		binary.LittleEndian.PutUint32(block[nodeFlags:], flags)
		binary.LittleEndian.PutUint32(block[nodeEntries:], uint32(len(keys)))
		binary.LittleEndian.PutUint32(block[nodeMaxEntries:], uint32(most))
		binary.LittleEndian.PutUint32(block[nodeValueSize:], uint32(valueSize))
		for i, key := range keys {
			binary.LittleEndian.PutUint64(block[nodeHeaderSize+8*i:], key)
			value(i, block[nodeHeaderSize+8*most+valueSize*i:])
		}
	})
}

func layDetails(blocks []*Block, number uint64, time uint32, mapped map[uint64]uint64, ids ...uint64) {
	layNode(blocks, number, nodeLeaf, detailsSize, ids, func(i int, into []byte) {
		binary.LittleEndian.PutUint64(into, mapped[ids[i]])
		binary.LittleEndian.PutUint32(into[20:], time)
	})
}

func layNumbers(blocks []*Block, number uint64, flags uint32, keys []uint64, values ...uint64) {
	layNode(blocks, number, flags, pointerSize, keys, func(i int, into []byte) { binary.LittleEndian.PutUint64(into, values[i]) })
}

func layMappings(blocks []*Block, number uint64, time uint32, virtual ...uint64) {
	var values []uint64
	for _, v := range virtual {
		values = append(values, (v+1000)<<timeBits|uint64(time))
	}
	layNumbers(blocks, number, nodeLeaf, virtual, values...)
}

// rootsDevice has the trees of two commits: thin devices 1 and 2 of 3 and 2 blocks, before that 1 alone of 2 blocks, and
// upper trees of two levels.
func rootsDevice() []*Block {
	blocks := make([]*Block, 40)
	for i := range blocks {
		blocks[i] = &Block{}
	}
	layMappings(blocks, 10, 4, 0, 1, 2)
	layMappings(blocks, 11, 5, 7)
	layMappings(blocks, 12, 2, 9)
	layNumbers(blocks, 13, nodeInternal, []uint64{7, 9}, 11, 12)
	layNumbers(blocks, 20, nodeLeaf, []uint64{1}, 10)
	layNumbers(blocks, 21, nodeLeaf, []uint64{2}, 13)
	layNumbers(blocks, 22, nodeInternal, []uint64{1, 2}, 20, 21)
	layDetails(blocks, 30, 3, map[uint64]uint64{1: 3, 2: 2}, 1, 2)
	layMappings(blocks, 14, 1, 0, 1)
	layNumbers(blocks, 23, nodeLeaf, []uint64{1}, 14)
	layDetails(blocks, 31, 1, map[uint64]uint64{1: 2}, 1)
	layDetails(blocks, 32, 9, map[uint64]uint64{1: 5, 2: 2}, 1, 2) // no mappings fit it
	return blocks
}

func TestFindRoots(t *testing.T) {
	ctx := t.Context()
	for name, test := range map[string]struct {
		change   func(blocks []*Block)
		known    Superblock
		expected map[uint32]bool
		want     Roots
	}{
		"nothing known":       {func([]*Block) {}, Superblock{}, nil, Roots{22, 30, 5, 2, 5}},
		"names known":         {func([]*Block) {}, Superblock{}, map[uint32]bool{1: true, 2: true}, Roots{22, 30, 5, 2, 5}},
		"details known":       {func([]*Block) {}, Superblock{DetailsRoot: 30}, nil, Roots{22, 30, 5, 2, 5}},
		"mappings known":      {func([]*Block) {}, Superblock{MappingRoot: 23}, map[uint32]bool{1: true, 2: true}, Roots{23, 31, 1, 1, 2}},
		"a newer node is off": {func(b []*Block) { b[12][100] ^= 1 }, Superblock{}, map[uint32]bool{1: true, 2: true}, Roots{23, 31, 1, 1, 2}},
	} {
		blocks := rootsDevice()
		test.change(blocks)
		roots, err := on(blocks...).FindRoots(ctx, uint64(len(blocks)), test.known, test.expected)
		if err != nil || roots != test.want {
			t.Errorf("%s: %+v, %v; want %+v", name, roots, err, test.want)
		}
	}
	empty := make([]*Block, 40)
	for i := range empty {
		empty[i] = &Block{}
	}
	if roots, err := on(empty...).FindRoots(ctx, 40, Superblock{}, nil); !errors.Is(err, ErrNoRoots) || !errors.Is(err, ErrDamaged) {
		t.Errorf("%+v, %v", roots, err)
	}
	if _, err := on(empty...).FindRoots(ctx, 1<<40, Superblock{}, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
	// A node that leads to itself is no tree.
	loop := rootsDevice()
	layNumbers(loop, 22, nodeInternal, []uint64{1, 2}, 20, 22)
	layNumbers(loop, 13, nodeInternal, []uint64{7, 9}, 11, 13)
	if roots, err := on(loop...).FindRoots(ctx, 40, Superblock{}, map[uint32]bool{1: true, 2: true}); err != nil || roots.Mapping != 23 {
		t.Errorf("%+v, %v", roots, err)
	}
	// Nor is one that has a node in two places: what is in that node would be counted twice, here to the number of blocks that the
	// details tell of.
	shared := rootsDevice()
	layNumbers(shared, 13, nodeInternal, []uint64{7, 9}, 11, 11)
	if roots, err := on(shared...).FindRoots(ctx, 40, Superblock{}, map[uint32]bool{1: true, 2: true}); err != nil || roots.Mapping != 23 {
		t.Errorf("%+v, %v", roots, err)
	}
	// Two thin devices may share one.
	layNumbers(shared, 13, nodeInternal, []uint64{7, 9}, 11, 12)
	layNumbers(shared, 10, nodeInternal, []uint64{7, 8}, 11, 15)
	layMappings(shared, 15, 4, 8, 12)
	if roots, err := on(shared...).FindRoots(ctx, 40, Superblock{}, map[uint32]bool{1: true, 2: true}); err != nil || roots != (Roots{22, 30, 5, 2, 5}) {
		t.Errorf("%+v, %v", roots, err)
	}
}

func TestMakeSuperblock(t *testing.T) {
	want := Superblock{Version: 2, Time: 7, TransactionID: 3, MappingRoot: 22, DetailsRoot: 30, DataBlockSize: 128, DataBlocks: 5, MetadataBlocks: 40}
	if got, err := parseSuperblock(MakeSuperblock(want), 0); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}
