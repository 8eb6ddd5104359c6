package thinmetadata

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
)

// ErrNoRoots says that no pair of trees was found that belong together.
var ErrNoRoots = errors.New("no trees that belong together were found")

// Roots are where the trees of a pool begin.
type Roots struct {
	Mapping, Details uint64 // block numbers
	// Time is the highest that a thin device or a mapping carries.
	Time uint32
	// ThinDevices, and data blocks that they map, blocks that several map counted for each.
	ThinDevices, MappedBlocks uint64
}

// FindRoots looks for the roots of metadata whose superblock has lost them, among all blocks of the device, of which there
// are metadataBlocks. A root of s that is not 0 is kept, and the other is looked for.
//
// The kernel never writes over a tree that is in force, so besides the last trees those of earlier commits are there, as far
// as their blocks were not used again. Trees of one commit know each other: they hold the same thin devices, and what the
// details say of a thin device's mapped blocks is what is mapped. Of such pairs the best is the one with most of the thin
// devices that are expected and fewest others, then the one with the highest time, then the one that maps most. That may be
// older than the last commit. Without any pair it is ErrNoRoots.
func (d *Device) FindRoots(ctx context.Context, metadataBlocks uint64, s Superblock, expected map[uint32]bool) (Roots, error) {
	f := rootFinder{device: d, blocks: metadataBlocks, nodes: map[uint64]foundNode{}, trees: map[uint64]mappedTree{}, seed: maphash.MakeSeed()}
	if err := f.scan(ctx); err != nil {
		return Roots{}, err
	}
	details, mappings := map[uint64][]candidate{}, []candidate{}
	for _, number := range slices.Sorted(maps.Keys(f.nodes)) {
		n := f.nodes[number]
		if err := ctx.Err(); err != nil {
			return Roots{}, context.Cause(ctx)
		}
		if c, ok := f.detailsFrom(number, n); ok && (s.DetailsRoot == 0 || s.DetailsRoot == number) {
			details[c.signature] = append(details[c.signature], c)
		}
		if c, ok := f.mappingsFrom(number, n); ok && (s.MappingRoot == 0 || s.MappingRoot == number) {
			mappings = append(mappings, c)
		}
	}
	var best *candidate
	var roots Roots
	for _, m := range mappings {
		for _, c := range details[m.signature] {
			pair := candidate{thins: m.thins, time: max(m.time, c.time), mapped: m.mapped}
			pair.rank(expected)
			if best == nil || pair.better(*best) {
				best, roots = &pair, Roots{Mapping: m.number, Details: c.number, Time: pair.time, ThinDevices: uint64(len(m.thins)), MappedBlocks: m.mapped}
			}
		}
	}
	if best == nil {
		return Roots{}, fmt.Errorf("%w: %w", ErrDamaged, ErrNoRoots)
	}
	return roots, nil
}

// foundNode is a node that is whole. Its values are kept where they lead to other nodes.
type foundNode struct {
	leaf      bool
	valueSize int
	keys      []uint64 // of a leaf of details, or of what may be the upper tree of mappings
	values    []uint64 // blocks, or mapped blocks of details
	time      uint32   // the highest in a leaf
	entries   int
	span      keyRange // from the first key to the last, where there are entries
}

// childRange is where the keys below a node's child must be, if those of the node must be within keys.
func (n foundNode) childRange(child int, keys keyRange) keyRange {
	within := keyRange{n.keys[child], keys.high}
	if child+1 < len(n.keys) {
		within.high = n.keys[child+1] - 1
	}
	return within
}

// mappedTree is what a thin device's own tree maps.
type mappedTree struct {
	blocks uint64
	time   uint32
	span   keyRange // of all its keys; nothing is to be said of it where there are none
	whole  bool
}

// candidate is a tree that is whole: thin devices and how many blocks each maps.
type candidate struct {
	number    uint64
	thins     []thinMapped
	time      uint32
	mapped    uint64
	signature uint64

	hits, strangers int
}

type thinMapped struct {
	id     uint64
	mapped uint64
}

func (c *candidate) rank(expected map[uint32]bool) {
	if len(expected) == 0 {
		return // nobody knows
	}
	for _, t := range c.thins {
		if expected[uint32(t.id)] {
			c.hits++
		} else {
			c.strangers++
		}
	}
}

func (c candidate) better(than candidate) bool {
	return cmp.Or(cmp.Compare(c.hits, than.hits), cmp.Compare(than.strangers, c.strangers), cmp.Compare(c.time, than.time), cmp.Compare(c.mapped, than.mapped)) > 0
}

type rootFinder struct {
	device *Device
	blocks uint64
	nodes  map[uint64]foundNode
	trees  map[uint64]mappedTree // by root; a tree that is being looked at is not whole yet
	seed   maphash.Seed
}

// scan reads all blocks and keeps the nodes of trees of mappings and of details.
func (f *rootFinder) scan(ctx context.Context) error {
	if f.blocks > maximumBlocks {
		return fmt.Errorf("%w: %d blocks of metadata", ErrDamaged, f.blocks)
	}
	numbers := make([]uint64, 0, batchBlocks)
	for first := uint64(1); first < f.blocks; first += batchBlocks {
		numbers = numbers[:0]
		for n := first; n < min(first+batchBlocks, f.blocks); n++ {
			numbers = append(numbers, n)
		}
		err := f.device.each(ctx, numbers, func(i int, block *Block) error {
			if n, ok := f.nodeOf(block, numbers[i]); ok {
				f.nodes[numbers[i]] = n
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *rootFinder) nodeOf(block *Block, number uint64) (foundNode, bool) {
	size := int(binary.LittleEndian.Uint32(block[nodeValueSize:]))
	n, err := parseNode(block, number, size, allKeys)
	if err != nil || size != detailsSize && size != pointerSize {
		return foundNode{}, false
	}
	found := foundNode{leaf: n.leaf, valueSize: size, entries: n.entries}
	if n.entries > 0 {
		found.span = keyRange{n.key(0), n.key(n.entries - 1)}
	}
	if n.leaf && size == detailsSize {
		for i := range n.entries {
			v := n.value(i)
			found.keys, found.values = append(found.keys, n.key(i)), append(found.values, binary.LittleEndian.Uint64(v))
			found.time = max(found.time, binary.LittleEndian.Uint32(v[16:]), binary.LittleEndian.Uint32(v[20:]))
		}
		return found, true
	}
	upper := true // every value is a block of the metadata
	for i := range n.entries {
		upper = upper && n.number(i) > 0 && n.number(i) < f.blocks
		found.time = max(found.time, uint32(n.number(i)&(1<<timeBits-1)))
	}
	if !upper {
		return found, n.leaf // an inner node that leads nowhere is none
	}
	for i := range n.entries {
		found.keys, found.values = append(found.keys, n.key(i)), append(found.values, n.number(i))
	}
	return found, true
}

// detailsFrom gives the thin devices of the tree of details that begins at a node.
func (f *rootFinder) detailsFrom(number uint64, n foundNode) (candidate, bool) {
	c := candidate{number: number}
	ok := f.collect(n, allKeys, 0, func(leaf foundNode) bool {
		if leaf.valueSize != detailsSize {
			return false
		}
		for i, id := range leaf.keys {
			c.thins, c.mapped = append(c.thins, thinMapped{id, leaf.values[i]}), c.mapped+leaf.values[i]
		}
		c.time = max(c.time, leaf.time)
		return true
	})
	return c, ok && f.sign(&c)
}

// mappingsFrom gives the thin devices of the tree of mappings that begins at a node, and counts what they map.
func (f *rootFinder) mappingsFrom(number uint64, n foundNode) (candidate, bool) {
	c := candidate{number: number}
	ok := f.collect(n, allKeys, 0, func(leaf foundNode) bool {
		if leaf.valueSize != pointerSize || len(leaf.keys) != leaf.entries {
			return false
		}
		for i, id := range leaf.keys {
			t := f.tree(leaf.values[i], 0)
			if !t.whole || id > maximumThinID {
				return false
			}
			c.thins, c.mapped, c.time = append(c.thins, thinMapped{id, t.blocks}), c.mapped+t.blocks, max(c.time, t.time)
		}
		return true
	})
	return c, ok && f.sign(&c)
}

// collect visits the leaves of a tree in the order of their keys, while visit says so. It tells whether all were there. No node
// of the tree is met twice: none has keys in the ranges of two parents.
func (f *rootFinder) collect(n foundNode, keys keyRange, depth int, visit func(leaf foundNode) bool) bool {
	if len(n.keys) > 0 && (n.keys[0] < keys.low || n.keys[len(n.keys)-1] > keys.high) {
		return false
	}
	if n.leaf {
		return visit(n)
	}
	if depth > maximumDepth || n.valueSize != pointerSize {
		return false
	}
	for i, child := range n.values {
		below, ok := f.nodes[child]
		if !ok || !f.collect(below, n.childRange(i, keys), depth+1, visit) {
			return false
		}
	}
	return true
}

// tree counts what a thin device's own tree maps. Trees share nodes, so each is looked at once; within one tree no node is met
// twice, as its keys are in the range of one parent alone.
func (f *rootFinder) tree(root uint64, depth int) mappedTree {
	if t, ok := f.trees[root]; ok {
		return t
	}
	n, ok := f.nodes[root]
	if !ok || depth > maximumDepth || n.valueSize != pointerSize {
		return mappedTree{}
	}
	f.trees[root] = mappedTree{} // a node below that leads back here is not whole
	t := mappedTree{blocks: uint64(n.entries), time: n.time, span: n.span, whole: true}
	if !n.leaf {
		t.blocks, t.time = 0, 0
		for i, child := range n.values {
			below, within := f.tree(child, depth+1), n.childRange(i, allKeys)
			t.whole = t.whole && below.whole && (below.blocks == 0 || below.span.low >= within.low && below.span.high <= within.high)
			t.blocks, t.time, t.span.high = t.blocks+below.blocks, max(t.time, below.time), max(t.span.high, below.span.high)
		}
	}
	f.trees[root] = t
	return t
}

// sign gives trees with the same thin devices and mapped blocks the same signature. Keys that do not ascend are no tree's.
func (f *rootFinder) sign(c *candidate) bool {
	if !slices.IsSortedFunc(c.thins, func(a, b thinMapped) int { return cmp.Compare(a.id, b.id) }) {
		return false
	}
	var h maphash.Hash
	h.SetSeed(f.seed)
	var raw [16]byte
	for _, t := range c.thins {
		binary.LittleEndian.PutUint64(raw[:], t.id)
		binary.LittleEndian.PutUint64(raw[8:], t.mapped)
		_, _ = h.Write(raw[:])
	}
	c.signature = h.Sum64()
	return true
}
