package thinpool

import (
	"cmp"
	"encoding/binary"
	"io"
	"slices"
)

// sweepChunk is how many pages of the registry are read at once.
const sweepChunk = 64

// sweepRecords visits all records of a registry's file: first those of the bucket "pool", which say how to read the others, and else
// in no order. It finds out which pages hold records from the branches above them, and reads those in the order in which they
// lie in the file, many at once, into one piece of memory. Going through the tree in bbolt's mapping of the file is a page
// fault, and before the file is in the page cache a request to the disk, for each.
//
// bucket, key and value are valid during the visit only. Nobody may write the file meanwhile. errRegistryStructure: the file is
// damaged, or has a shape that bbolt could read and this cannot.
func sweepRecords(file io.ReaderAt, size int64, visit func(bucket string, key, value []byte) error) (highWater uint64, err error) {
	s := registrySweep{pages: registryPages{file: file, pages: uint64(size / registryPageSize)}, visit: visit}
	if s.pages.meta, err = s.pages.newest(); err != nil {
		return 0, err
	}
	root, err := s.root()
	if err != nil {
		return 0, err
	}
	for _, first := range []bool{true, false} {
		for _, e := range root {
			if first != (string(e.key) == bucketPool) {
				continue
			}
			if err := s.bucket(string(e.key), e.value); err != nil {
				return 0, err
			}
		}
		if err := s.sweep(); err != nil {
			return 0, err
		}
	}
	return s.pages.meta.highWater, nil
}

type registrySweep struct {
	pages  registryPages
	leaves []sweepLeaf
	visit  func(bucket string, key, value []byte) error
}

// sweepLeaf is a page that holds records of a bucket.
type sweepLeaf struct {
	number uint64
	bucket string
}

// root gives the buckets.
func (s *registrySweep) root() ([]pageElement, error) {
	elements, flags, err := s.read(s.pages.meta.root)
	if err != nil {
		return nil, err
	}
	missing := slices.Clone(buckets)
	for _, e := range elements {
		if flags != pageLeaf || !e.bucket || len(e.value) < bucketHeaderSize {
			return nil, structureError("page %d does not consist of buckets", s.pages.meta.root)
		}
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == string(e.key) })
	}
	if len(missing) > 0 {
		return nil, structureError("no buckets %q", missing)
	}
	return elements, nil
}

func (s *registrySweep) read(number uint64) (elements []pageElement, flags uint16, err error) {
	page, err := s.pages.read(number, 1)
	if err != nil {
		return nil, 0, err
	}
	return s.parse(nil, page, number)
}

// parse takes a page apart, of which only the first may have been read, into the memory of an empty slice.
func (s *registrySweep) parse(memory []pageElement, page []byte, number uint64) (elements []pageElement, flags uint16, err error) {
	flags = binary.NativeEndian.Uint16(page[8:])
	if id := binary.NativeEndian.Uint64(page); id != number || flags != pageBranch && flags != pageLeaf {
		return nil, 0, structureError("page %d says it is page %d of kind %#x", number, id, flags)
	}
	if more := uint64(binary.NativeEndian.Uint32(page[12:])); more > 0 {
		if page, err = s.pages.read(number, more+1); err != nil {
			return nil, 0, err
		}
	}
	elements, err = appendPageElements(memory, page, flags, number)
	return elements, flags, err
}

// bucket visits the records of a bucket that has no page of its own, or notes the pages that it has.
func (s *registrySweep) bucket(name string, value []byte) error {
	root := binary.NativeEndian.Uint64(value)
	if root == 0 {
		inline := value[bucketHeaderSize:]
		if len(inline) < pageHeaderSize {
			return structureError("bucket %q has %d bytes", name, len(value))
		}
		elements, err := pageElements(inline, pageLeaf, s.pages.meta.root)
		if err != nil {
			return err
		}
		return s.visitAll(name, elements)
	}
	depth, err := s.depth(root)
	if err != nil {
		return err
	}
	return s.findLeaves(name, root, depth)
}

// depth is how many branches lie above each of a tree's leaves: as many above one as above another.
func (s *registrySweep) depth(number uint64) (int, error) {
	for depth := 0; depth < maximumPageDepth; depth++ {
		elements, flags, err := s.read(number)
		if err != nil || flags == pageLeaf {
			return depth, err
		}
		if len(elements) == 0 {
			return 0, structureError("page %d is a branch with nothing below it", number)
		}
		number = elements[0].child
	}
	return 0, structureError("page %d lies deeper than %d pages", number, maximumPageDepth)
}

func (s *registrySweep) findLeaves(bucket string, number uint64, depth int) error {
	if depth == 0 {
		s.leaves = append(s.leaves, sweepLeaf{number, bucket})
		if uint64(len(s.leaves)) > s.pages.meta.highWater {
			return structureError("it has more pages with records than pages")
		}
		return nil
	}
	elements, flags, err := s.read(number)
	if err != nil {
		return err
	}
	if flags != pageBranch {
		return structureError("page %d is no branch", number)
	}
	for _, e := range elements {
		if err := s.findLeaves(bucket, e.child, depth-1); err != nil {
			return err
		}
	}
	return nil
}

// sweep visits the records of all leaves.
func (s *registrySweep) sweep() error {
	slices.SortFunc(s.leaves, func(a, b sweepLeaf) int { return cmp.Compare(a.number, b.number) })
	var chunk []byte
	var begin, end uint64 // of the pages that are in chunk
	var elements []pageElement
	memory := make([]byte, sweepChunk*registryPageSize)
	for i, leaf := range s.leaves {
		if i > 0 && leaf.number == s.leaves[i-1].number {
			return structureError("page %d is in use twice", leaf.number)
		}
		if leaf.number >= end {
			begin, end = leaf.number, min(leaf.number+sweepChunk, s.pages.pages)
			if begin >= end {
				return structureError("page %d lies outside of the file", leaf.number)
			}
			chunk = memory[:(end-begin)*registryPageSize]
			if _, err := s.pages.file.ReadAt(chunk, int64(begin)*registryPageSize); err != nil {
				return err
			}
		}
		var flags uint16
		var err error
		if elements, flags, err = s.parse(elements[:0], chunk[(leaf.number-begin)*registryPageSize:][:registryPageSize], leaf.number); err != nil {
			return err
		}
		if flags != pageLeaf {
			return structureError("page %d is no leaf", leaf.number)
		}
		if err := s.visitAll(leaf.bucket, elements); err != nil {
			return err
		}
	}
	s.leaves = nil
	return nil
}

func (s *registrySweep) visitAll(bucket string, elements []pageElement) error {
	for _, e := range elements {
		if e.bucket {
			return structureError("bucket %q has a bucket in it", bucket)
		}
		if err := s.visit(bucket, e.key, e.value); err != nil {
			return err
		}
	}
	return nil
}
