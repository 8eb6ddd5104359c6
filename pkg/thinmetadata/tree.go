package thinmetadata

import (
	"context"
	"fmt"
)

// maximumDepth of a tree. One of 2^40 mappings has eight levels where its nodes are as empty as they can be.
const maximumDepth = 16

// walkTree visits all leaves of a tree in the order of their keys. It holds a batch of blocks for each level.
func (d *Device) walkTree(ctx context.Context, root uint64, valueSize int, visit func(leaf node) error) error {
	return d.walkLevel(ctx, []uint64{root}, []keyRange{allKeys}, 0, valueSize, visit)
}

func (d *Device) walkLevel(ctx context.Context, numbers []uint64, ranges []keyRange, depth, valueSize int, visit func(leaf node) error) error {
	if depth > maximumDepth {
		return errTooDeep(numbers[0])
	}
	return d.each(ctx, numbers, func(i int, block *Block) error {
		n, err := parseNode(block, numbers[i], valueSize, ranges[i])
		if err != nil {
			return err
		}
		if n.leaf {
			return visit(n)
		}
		children, keys := n.children(ranges[i])
		return d.walkLevel(ctx, children, keys, depth+1, valueSize, visit)
	})
}

func errTooDeep(number uint64) error {
	return fmt.Errorf("%w: the tree above node %d is deeper than %d levels", ErrDamaged, number, maximumDepth)
}
