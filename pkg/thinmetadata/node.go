package thinmetadata

import (
	"encoding/binary"
	"fmt"
	"math"
)

// struct node_header of drivers/md/persistent-data/dm-btree-internal.h: 32 bytes, then max_entries keys of 8 bytes, then
// as many values.
const (
	nodeFlags       = 4
	nodeBlockNumber = 8
	nodeEntries     = 16
	nodeMaxEntries  = 20
	nodeValueSize   = 24
	nodeHeaderSize  = 32
	nodeInternal    = 1
	nodeLeaf        = 2
	pointerSize     = 8
)

// node is a node of a tree that was checked, in the memory that it was read to.
type node struct {
	block     *Block
	entries   int
	leaf      bool
	valueSize int
	values    int // where they begin in the block
}

// keyRange is what a node's parent says of its keys. Both ends are included.
type keyRange struct{ low, high uint64 }

var allKeys = keyRange{0, math.MaxUint64}

// parseNode checks a node: checksum and place, that what its header announces fits the block, and that its keys ascend and
// are in the range that its parent gives them. So no node can be met twice on a way down but one of a single entry.
func parseNode(block *Block, number uint64, leafValueSize int, keys keyRange) (node, error) {
	if err := verify(block, number, btreeSalt, nodeBlockNumber); err != nil {
		return node{}, err
	}
	u32 := func(at int) uint64 { return uint64(binary.LittleEndian.Uint32(block[at:])) }
	kind, entries, most, size := u32(nodeFlags)&(nodeInternal|nodeLeaf), u32(nodeEntries), u32(nodeMaxEntries), u32(nodeValueSize)
	want := uint64(leafValueSize)
	switch kind {
	case nodeInternal:
		want = pointerSize
	case nodeLeaf:
	default:
		return node{}, fmt.Errorf("%w: block %d is neither a leaf nor an inner node", ErrDamaged, number)
	}
	if size != want || entries > most || nodeHeaderSize+most*(8+size) > BlockSize || kind == nodeInternal && entries == 0 {
		return node{}, fmt.Errorf("%w: node %d of %d entries of %d bytes, %d at most", ErrDamaged, number, entries, size, most)
	}
	n := node{block: block, entries: int(entries), leaf: kind == nodeLeaf, valueSize: int(size), values: nodeHeaderSize + 8*int(most)}
	for i := range n.entries {
		if key := n.key(i); key < keys.low || key > keys.high || i > 0 && key <= n.key(i-1) {
			return node{}, fmt.Errorf("%w: node %d has the key %d out of order", ErrDamaged, number, key)
		}
	}
	return n, nil
}

func (n node) key(i int) uint64 { return binary.LittleEndian.Uint64(n.block[nodeHeaderSize+8*i:]) }

func (n node) value(i int) []byte { return n.block[n.values+i*n.valueSize:][:n.valueSize] }

// number is a value of 8 bytes: a child's block, the root of a tree below a tree, or a mapping.
func (n node) number(i int) uint64 { return binary.LittleEndian.Uint64(n.value(i)) }

// children gives the blocks of an inner node's children and the keys that each may hold, in the order of the keys. keys is
// the node's own range.
func (n node) children(keys keyRange) (numbers []uint64, ranges []keyRange) {
	numbers, ranges = make([]uint64, n.entries), make([]keyRange, n.entries)
	for i := range n.entries {
		numbers[i], ranges[i] = n.number(i), keyRange{n.key(i), keys.high}
		if i > 0 {
			ranges[i-1].high = n.key(i) - 1
		}
	}
	return numbers, ranges
}
