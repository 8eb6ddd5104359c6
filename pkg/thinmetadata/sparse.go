package thinmetadata

// sparsePage is how many elements of a sparse array come into being together.
const sparsePage = 512

// sparse is an array that takes memory only around the elements that were asked for, and one pointer for each page below
// the highest of these.
type sparse[T any] struct{ pages []*[sparsePage]T }

// at gives an element, zero at first.
func (s *sparse[T]) at(i uint64) *T {
	number := i / sparsePage
	if missing := int(number) + 1 - len(s.pages); missing > 0 {
		s.pages = append(s.pages, make([]*[sparsePage]T, missing)...)
	}
	page := s.pages[number]
	if page == nil {
		page = new([sparsePage]T)
		s.pages[number] = page
	}
	return &page[i%sparsePage]
}

// references says of each data block whether no, one or more than one thin device maps it, in two bits.
type references struct {
	words sparse[referenceWord]
	// mapped counts the blocks that any thin device maps, shared those that more than one does.
	mapped, shared uint64
}

// referenceWord has one bit for each of 64 data blocks.
type referenceWord struct{ seen, shared uint64 }

// add counts one more reference to a block.
func (r *references) add(block uint64) {
	word, bit := r.words.at(block/64), uint64(1)<<(block%64)
	switch {
	case word.seen&bit == 0:
		word.seen |= bit
		r.mapped++
	case word.shared&bit == 0:
		word.shared |= bit
		r.shared++
	}
}

// isShared tells whether a block was added more than once.
func (r *references) isShared(block uint64) bool {
	return r.words.at(block/64).shared>>(block%64)&1 != 0
}
