package thinmetadata

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// Usage is how a pool's data is divided among its thin devices, in data blocks.
type Usage struct {
	// Thins in the order of their ids.
	Thins []ThinUsage
	// DataBlocks that any thin device maps, each counted once.
	DataBlocks uint64
}

// ThinUsage is what one thin device holds, in data blocks.
type ThinUsage struct {
	ThinID uint32
	// Mapped by the thin device.
	Mapped uint64
	// Exclusive: mapped by no other thin device. Deleting this one gives them back.
	Exclusive uint64
}

// Usage reads all mappings and counts. dataBlocks is the size of the pool's data; what is mapped beyond is damage.
//
// Snapshots share the nodes of their trees until they are written to. So each node is read once, by the thin device that
// meets it first; the nodes that another meets again are shared with all below them, and read once more; and so are in the
// end the leaves of a single thin device, for what they map may have become shared after they were counted. Reading is
// thus at most twice the metadata in use. Memory is a quarter of a byte for each data block, where any near it is mapped,
// 4 bytes for each metadata block, and 12 for each leaf.
func (d *Device) Usage(ctx context.Context, s Superblock, dataBlocks uint64) (Usage, error) {
	details, err := d.Details(ctx, s)
	if err != nil {
		return Usage{}, err
	}
	roots, err := d.roots(ctx, s)
	if err != nil {
		return Usage{}, err
	}
	if !slices.EqualFunc(details, roots, func(d Details, r thinRoot) bool { return d.ThinID == r.id }) {
		return Usage{}, fmt.Errorf("%w: the trees of details and of mappings hold different thin devices", ErrDamaged)
	}
	c := counter{device: d, dataBlocks: dataBlocks, exclusive: make([]uint64, len(roots))}
	for i, r := range roots {
		if err := c.count(ctx, owner(i+1), r.root); err != nil {
			return Usage{}, fmt.Errorf("thin device %d: %w", r.id, err)
		}
	}
	if err := c.settle(ctx); err != nil {
		return Usage{}, err
	}
	usage := Usage{DataBlocks: c.references.mapped}
	for i, r := range roots {
		if c.exclusive[i] > details[i].MappedBlocks {
			return Usage{}, fmt.Errorf("%w: thin device %d maps %d blocks and %d alone", ErrDamaged, r.id, details[i].MappedBlocks, c.exclusive[i])
		}
		usage.Thins = append(usage.Thins, ThinUsage{ThinID: r.id, Mapped: details[i].MappedBlocks, Exclusive: c.exclusive[i]})
	}
	return usage, nil
}

// owner says whose a node is: the n-th thin device's, counted from 1, that of more than one, or nobody's yet.
type owner uint32

const (
	ownerNone   owner = 0
	ownerShared owner = 1<<32 - 1
)

// counter counts the references to nodes and data blocks.
type counter struct {
	device     *Device
	dataBlocks uint64
	owners     sparse[owner] // of metadata blocks
	references references
	leaves     []ownedLeaf
	exclusive  []uint64 // data blocks of each thin device
}

// ownedLeaf is a leaf that one thin device has alone, as far as is known.
type ownedLeaf struct {
	number  uint32
	owner   owner
	entries uint32
}

// visited is a node to be read, with the keys that it may hold.
type visited struct {
	number uint64
	keys   keyRange
}

// count walks the tree of a thin device level by level, reading each level in the order of addresses, without what was met
// before.
func (c *counter) count(ctx context.Context, by owner, root uint64) error {
	var shared []uint64
	level := []visited{{root, allKeys}}
	for depth := 0; len(level) > 0; depth++ {
		if depth > maximumDepth {
			return errTooDeep(level[0].number)
		}
		again, err := c.claim(by, &level)
		if err != nil {
			return err
		}
		shared = append(shared, again...)
		if level, err = c.countLevel(ctx, by, level); err != nil {
			return err
		}
	}
	return c.share(ctx, shared)
}

// claim keeps of a level the nodes that were never met, which are by's from now on, and gives those that were another's.
func (c *counter) claim(by owner, level *[]visited) (again []uint64, err error) {
	fresh := (*level)[:0]
	for _, v := range *level {
		if v.number >= maximumBlocks {
			return nil, fmt.Errorf("%w: block %d is out of bounds", ErrDamaged, v.number)
		}
		switch o := c.owners.at(v.number); *o {
		case ownerNone:
			*o = by
			fresh = append(fresh, v)
		case by:
			return nil, fmt.Errorf("%w: node %d is in one tree twice", ErrDamaged, v.number)
		case ownerShared:
		default:
			*o = ownerShared
			again = append(again, v.number)
		}
	}
	slices.SortFunc(fresh, func(a, b visited) int { return cmp.Compare(a.number, b.number) })
	*level = fresh
	return again, nil
}

// countLevel reads a level's nodes, counts what leaves map and gives the level below.
func (c *counter) countLevel(ctx context.Context, by owner, level []visited) (below []visited, err error) {
	numbers := make([]uint64, len(level))
	for i, v := range level {
		numbers[i] = v.number
	}
	err = c.device.each(ctx, numbers, func(i int, block *Block) error {
		n, err := parseNode(block, numbers[i], pointerSize, level[i].keys)
		if err != nil {
			return err
		}
		if n.leaf {
			c.leaves = append(c.leaves, ownedLeaf{number: uint32(numbers[i]), owner: by, entries: uint32(n.entries)})
			return c.eachData(n, numbers[i], c.references.add)
		}
		children, ranges := n.children(level[i].keys)
		for j := range children {
			below = append(below, visited{children[j], ranges[j]})
		}
		return nil
	})
	return below, err
}

// share marks the subtrees below nodes as shared: what they map is mapped by two thin devices at least.
func (c *counter) share(ctx context.Context, level []uint64) error {
	for len(level) > 0 {
		slices.Sort(level)
		var below []uint64
		err := c.device.each(ctx, level, func(i int, block *Block) error {
			n, err := parseNode(block, level[i], pointerSize, allKeys)
			if err != nil {
				return err
			}
			if n.leaf {
				return c.eachData(n, level[i], c.references.add)
			}
			for j := range n.entries {
				child := n.number(j)
				if child >= maximumBlocks {
					return fmt.Errorf("%w: block %d is out of bounds", ErrDamaged, child)
				}
				if o := c.owners.at(child); *o != ownerShared {
					*o = ownerShared
					below = append(below, child)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		level = below
	}
	return nil
}

// settle counts, in the leaves that are still one thin device's, the blocks that no other leaf maps.
func (c *counter) settle(ctx context.Context) error {
	c.leaves = slices.DeleteFunc(c.leaves, func(l ownedLeaf) bool { return *c.owners.at(uint64(l.number)) == ownerShared })
	if c.references.shared == 0 {
		for _, l := range c.leaves {
			c.exclusive[l.owner-1] += uint64(l.entries)
		}
		return nil
	}
	slices.SortFunc(c.leaves, func(a, b ownedLeaf) int { return cmp.Compare(a.number, b.number) })
	numbers := make([]uint64, len(c.leaves))
	for i, l := range c.leaves {
		numbers[i] = uint64(l.number)
	}
	return c.device.each(ctx, numbers, func(i int, block *Block) error {
		n, err := parseNode(block, numbers[i], pointerSize, allKeys)
		if err != nil {
			return err
		}
		return c.eachData(n, numbers[i], func(data uint64) {
			if !c.references.isShared(data) {
				c.exclusive[c.leaves[i].owner-1]++
			}
		})
	})
}

// eachData visits the data blocks that a leaf maps.
func (c *counter) eachData(leaf node, number uint64, visit func(data uint64)) error {
	for i := range leaf.entries {
		data := leaf.number(i) >> timeBits
		if data >= c.dataBlocks {
			return fmt.Errorf("%w: node %d maps the data block %d of %d", ErrDamaged, number, data, c.dataBlocks)
		}
		visit(data)
	}
	return nil
}
