package thinmetadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

func FuzzSuperblock(f *testing.F) {
	f.Add(superblock(func(*Block) {})[:])
	f.Fuzz(func(t *testing.T, raw []byte) {
		var block Block
		copy(block[:], raw)
		binary.LittleEndian.PutUint32(block[:], checksum(&block, superblockSalt))
		if s, err := on(&block).ReadSuperblock(0); err == nil && (s.Version == 0 || s.Version > maximumVersion) || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// FuzzNode: what is accepted as a node has its entries inside the block, and its keys ascend within the range given.
func FuzzNode(f *testing.F) {
	f.Add(nodeBlock(0, nodeLeaf, detailsSize, 126, 1, 2)[:], true, uint64(0), uint64(math.MaxUint64))
	f.Add(nodeBlock(0, nodeInternal, pointerSize, 252, 3, 9)[:], false, uint64(3), uint64(9))
	f.Fuzz(func(t *testing.T, raw []byte, details bool, low, high uint64) {
		var block Block
		copy(block[:], raw)
		// Make the checks in front right, so that what lies behind them is reached.
		binary.LittleEndian.PutUint64(block[nodeBlockNumber:], 0)
		binary.LittleEndian.PutUint32(block[:], checksum(&block, btreeSalt))
		size := pointerSize
		if details {
			size = detailsSize
		}
		n, err := parseNode(&block, 0, size, keyRange{low, high})
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
			return
		}
		for i := range n.entries {
			if n.key(i) < low || n.key(i) > high || i > 0 && n.key(i) <= n.key(i-1) || len(n.value(i)) != n.valueSize {
				t.Fatalf("entry %d of %+v", i, n)
			}
		}
		if !n.leaf {
			children, ranges := n.children(keyRange{low, high})
			for i := range children {
				if ranges[i].low > ranges[i].high || i > 0 && ranges[i].low != ranges[i-1].high+1 || ranges[len(ranges)-1].high != high {
					t.Fatalf("children's keys are %v", ranges)
				}
			}
		}
	})
}

// trees makes metadata of a fuzzer's bytes: blocks that are whole, and point to each other in any way. The first byte of
// each says what it is and how many entries it has, the next ones are keys, each above the last, and values.
func trees(t *testing.T, raw []byte) (*Device, Superblock) {
	const most = 48
	m, input := &image{T: t}, bytes.NewReader(raw)
	next := func() uint64 { b, _ := input.ReadByte(); return uint64(b) }
	var thins []uint64
	for input.Len() > 0 && len(m.blocks) < most {
		header := next()
		var pairs []uint64
		key := uint64(0)
		for range header >> 3 & 7 {
			key += next()
			pairs = append(pairs, key, next())
			key++
		}
		switch header & 7 {
		case 0, 1, 2:
			m.leaf(pairs...)
		case 3, 4:
			m.inner(pairs...)
		case 5:
			m.details(pairs...)
		default:
			thins = pairs
			m.tree(pairs...)
		}
	}
	if len(m.blocks) == 0 {
		m.leaf()
	}
	s := Superblock{MappingRoot: uint64(len(m.blocks)) - 1, DetailsRoot: uint64(len(m.blocks))}
	if len(thins) > 0 {
		s.MappingRoot = m.tree(thins...)
	}
	// Details that fit, of devices that have mapped enough.
	var details []uint64
	roots, err := on(m.blocks...).roots(t.Context(), s)
	if err != nil && !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	for _, r := range roots[:min(len(roots), 100)] {
		details = append(details, uint64(r.id), 1<<40)
	}
	s.DetailsRoot = m.details(details...)
	return on(m.blocks...), s
}

// FuzzTrees: whatever points where, reading ends, damage is said to be damage, and where all mappings can be read, what
// Usage counts is what counting them one by one gives.
func FuzzTrees(f *testing.F) {
	f.Add([]byte{0o10, 1, 1, 0o26, 1, 0, 1, 0})                               // two thin devices on one leaf
	f.Add([]byte{0o20, 0, 1, 0, 2, 0o10, 9, 2, 0o23, 0, 0, 7, 1, 0o26, 1, 2}) // an inner node on two leaves
	f.Add([]byte{0o20, 0, 1, 0, 2, 0o10, 9, 2, 0o23, 0, 0, 7, 1, 0o13, 0, 0, 0o36, 1, 2, 0, 3, 0, 1})
	f.Add([]byte{0o13, 0, 0, 0o16, 1, 0}) // a loop
	f.Fuzz(func(t *testing.T, raw []byte) {
		device, s := trees(t, raw)
		usage, err := device.Usage(t.Context(), s, 256)
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		roots, rootsErr := device.roots(t.Context(), s)
		if err != nil || rootsErr != nil {
			return
		}
		references, alone := map[uint64]int{}, map[uint64]uint32{}
		for _, r := range roots {
			for m, err := range device.Mappings(t.Context(), s, r.id) {
				if errors.Is(err, ErrDamaged) {
					return // a node fits one of its parents and not another: Usage looks at it once
				}
				if err != nil {
					t.Fatal(err)
				}
				for i := range m.Blocks {
					references[m.Data+i]++
					alone[m.Data+i] = r.id
				}
			}
		}
		exclusive := map[uint32]uint64{}
		for data, n := range references {
			if n == 1 {
				exclusive[alone[data]]++
			}
		}
		if usage.DataBlocks != uint64(len(references)) || len(usage.Thins) != len(roots) {
			t.Fatalf("%+v of %v", usage, references)
		}
		for _, thin := range usage.Thins {
			if thin.Exclusive != exclusive[thin.ThinID] {
				t.Fatalf("%+v, counted one by one %v of %v", usage, exclusive, references)
			}
		}
	})
}

// deep is metadata for trees of inner nodes in many levels, each of whose children are all the same: as a graph it is small,
// as a tree it has 7^12 leaves.
func deep() []byte {
	raw := []byte{0, 0o15, 0, 0} // block 0 is the superblock's, block 1 has the details of one thin device
	for level := range 12 {
		raw = append(raw, 0o73)
		for range 7 {
			raw = append(raw, 0, byte(level+1))
		}
	}
	return raw
}

// FuzzFindRoots: trees that are found can be read, hold the same thin devices, and as many as it is said.
func FuzzFindRoots(f *testing.F) {
	f.Add([]byte{0o10, 1, 1, 0o26, 1, 0, 1, 0})
	f.Add([]byte{0o20, 0, 1, 0, 2, 0o10, 9, 2, 0o23, 0, 0, 7, 1, 0o26, 1, 2})
	f.Add([]byte{0o15, 1, 1, 0o10, 0, 1, 0o26, 1, 1})
	f.Add(deep())
	f.Fuzz(func(t *testing.T, raw []byte) {
		device, s := trees(t, raw)
		blocks := s.DetailsRoot + 1
		found, err := device.FindRoots(t.Context(), blocks, Superblock{}, nil)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
			return
		}
		s = Superblock{MappingRoot: found.Mapping, DetailsRoot: found.Details}
		details, err := device.Details(t.Context(), s)
		if err != nil || uint64(len(details)) != found.ThinDevices {
			t.Errorf("%+v: %+v, %v", found, details, err)
		}
		roots, err := device.roots(t.Context(), s)
		if err != nil || len(roots) != len(details) {
			t.Errorf("%+v: %v, %v", found, roots, err)
		}
	})
}
