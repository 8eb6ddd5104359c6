package thinmetadata

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// image is metadata put together block by block.
type image struct {
	*testing.T
	blocks []*Block
}

// put adds a node and gives its number. Values of a leaf of mappings are data blocks, those of other nodes blocks.
func (m *image) put(flags uint32, valueSize int, shift uint, pairs ...uint64) uint64 {
	number := uint64(len(m.blocks))
	m.blocks = append(m.blocks, sealed(number, func(block *Block) {
		most := (BlockSize - nodeHeaderSize) / (8 + valueSize) / 3 * 3
		binary.LittleEndian.PutUint32(block[nodeFlags:], flags)
		binary.LittleEndian.PutUint32(block[nodeEntries:], uint32(len(pairs)/2))
		binary.LittleEndian.PutUint32(block[nodeMaxEntries:], uint32(most))
		binary.LittleEndian.PutUint32(block[nodeValueSize:], uint32(valueSize))
		for i := range len(pairs) / 2 {
			binary.LittleEndian.PutUint64(block[nodeHeaderSize+8*i:], pairs[2*i])
			binary.LittleEndian.PutUint64(block[nodeHeaderSize+8*most+valueSize*i:], pairs[2*i+1]<<shift)
		}
	}))
	return number
}

func (m *image) leaf(pairs ...uint64) uint64    { return m.put(nodeLeaf, pointerSize, timeBits, pairs...) }
func (m *image) inner(pairs ...uint64) uint64   { return m.put(nodeInternal, pointerSize, 0, pairs...) }
func (m *image) tree(pairs ...uint64) uint64    { return m.put(nodeLeaf, pointerSize, 0, pairs...) }
func (m *image) details(pairs ...uint64) uint64 { return m.put(nodeLeaf, detailsSize, 0, pairs...) }

// example has three thin devices: 1 and 2 share a leaf, 2 and 3 a data block, and 3 has one leaf alone.
func example(t *testing.T) (*image, Superblock) {
	m := &image{T: t}
	m.leaf() // block 0 is the superblock's
	first := m.leaf(0, 10, 1, 11)
	second := m.leaf(5, 20, 6, 21, 7, 22)
	one, two := m.inner(0, first, 5, second), m.inner(0, first, 5, m.leaf(5, 20, 6, 30))
	three := m.inner(3, m.leaf(3, 30), 8, m.leaf(8, 40))
	return m, Superblock{MappingRoot: m.tree(1, one, 2, two, 3, three), DetailsRoot: m.details(1, 5, 2, 4, 3, 2)}
}

func TestUsage(t *testing.T) {
	m, s := example(t)
	got, err := on(m.blocks...).Usage(t.Context(), s, 41)
	want := []ThinUsage{{1, 5, 2}, {2, 4, 0}, {3, 2, 1}}
	if err != nil || got.DataBlocks != 7 || !slices.Equal(got.Thins, want) {
		t.Errorf("%+v, %v, want %v", got, err, want)
	}
	if _, err := on(m.blocks...).Usage(t.Context(), s, 40); !errors.Is(err, ErrDamaged) {
		t.Errorf("data beyond the end: %v", err)
	}
}

func TestUsageOfNothing(t *testing.T) {
	m := &image{T: t}
	s := Superblock{MappingRoot: m.tree(), DetailsRoot: m.details()}
	if got, err := on(m.blocks...).Usage(t.Context(), s, 0); err != nil || len(got.Thins) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestMappings(t *testing.T) {
	m, s := example(t)
	device := on(m.blocks...)
	var got []Mapping
	for mapping, err := range device.Mappings(t.Context(), s, 1) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, mapping)
	}
	if want := []Mapping{{0, 10, 2, 0}, {5, 20, 3, 0}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for mapping, err := range device.Mappings(t.Context(), s, 1) {
		if err != nil || mapping != got[0] {
			t.Errorf("%v, %v", mapping, err)
		}
		break
	}
	for mapping, err := range device.Mappings(t.Context(), s, 4) {
		if !errors.Is(err, ErrNoThin) {
			t.Errorf("a thin device that is not there: %v, %v", mapping, err)
		}
	}
}

func TestUsageRefuses(t *testing.T) {
	for name, damage := range map[string]func(m *image, s *Superblock){
		"details of another device": func(m *image, s *Superblock) { s.DetailsRoot = m.details(1, 5, 2, 4, 4, 2) },
		"details of fewer":          func(m *image, s *Superblock) { s.DetailsRoot = m.details(1, 5, 2, 4) },
		"more alone than mapped":    func(m *image, s *Superblock) { s.DetailsRoot = m.details(1, 1, 2, 4, 3, 2) },
		"a node twice in a tree": func(m *image, s *Superblock) {
			empty := m.leaf()
			s.MappingRoot, s.DetailsRoot = m.tree(1, m.inner(0, empty, 5, empty)), m.details(1, 0)
		},
		"a loop": func(m *image, s *Superblock) {
			s.MappingRoot, s.DetailsRoot = m.tree(1, m.inner(0, uint64(len(m.blocks)))), m.details(1, 0)
		},
		"a child far away": func(m *image, s *Superblock) {
			s.MappingRoot, s.DetailsRoot = m.tree(1, m.inner(0, 1<<50)), m.details(1, 0)
		},
		"a key of the next child's": func(m *image, s *Superblock) {
			s.MappingRoot, s.DetailsRoot = m.tree(1, m.inner(0, m.leaf(0, 1, 5, 2), 5, m.leaf(5, 3))), m.details(1, 3)
		},
		"a key before its parent's": func(m *image, s *Superblock) {
			s.MappingRoot, s.DetailsRoot = m.tree(1, m.inner(1, m.leaf(0, 1))), m.details(1, 1)
		},
		"an inner node without children": func(m *image, s *Superblock) {
			s.MappingRoot, s.DetailsRoot = m.tree(1, m.inner()), m.details(1, 0)
		},
	} {
		m, s := example(t)
		damage(m, &s)
		if got, err := on(m.blocks...).Usage(t.Context(), s, 100); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
