package thinpool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"slices"
)

// What follows reads a bbolt file page by page, without bbolt: bbolt's own check (Tx.Check) reads the mapped file in a
// goroutine of its own, where a disk's error or a wrong page ends the process. The format is that of
// go.etcd.io/bbolt/internal/common, version 2, in the machine's byte order.
const (
	pageHeaderSize = 16 // id 8 bytes, flags 2, count 2, overflow 4
	pageBranch     = 0x01
	pageLeaf       = 0x02
	pageMeta       = 0x04
	pageFreelist   = 0x10

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	// Fields of a meta page, behind the header.
	metaPageSize  = 8
	metaRoot      = 16
	metaFreelist  = 32
	metaHighWater = 40
	metaTx        = 48
	metaChecksum  = 56
	metaSize      = 64

	elementSize      = 16 // of a branch's and of a leaf's element
	leafBucket       = 0x01
	bucketHeaderSize = 16 // of a bucket's value: root 8 bytes, sequence 8; where root is 0 a page follows
	freelistLongMark = 0xFFFF
	noFreelist       = math.MaxUint64

	maximumPageDepth = 32
)

// errRegistryStructure: the registry's file is not a whole database.
var errRegistryStructure = errors.New("registry's structure is damaged")

func structureError(format string, arguments ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errRegistryStructure}, arguments...)...)
}

// registryMeta is a root of the database: one of the two that take turns.
type registryMeta struct {
	root, freelist, highWater, tx uint64
}

// registryPages checks a database. Each page that it has must be reached once: from the root, or as a free one.
type registryPages struct {
	file  io.ReaderAt
	pages uint64 // that the file has
	meta  registryMeta
	seen  map[uint64]string // what a page is used for
}

// checkRegistryPages checks the database in a file of size bytes. Another process, or goroutine, may commit meanwhile:
// what was damaged in a state that is not the last any more is looked at again.
func checkRegistryPages(file io.ReaderAt, size int64) error {
	const attempts = 16
	var err error
	for range attempts {
		c := &registryPages{file: file, pages: uint64(size / registryPageSize)}
		if c.meta, err = c.newest(); err != nil {
			return err
		}
		if err = c.check(); err == nil {
			return nil
		}
		if again, newestErr := c.newest(); newestErr == nil && again.tx == c.meta.tx {
			return err
		}
	}
	return fmt.Errorf("the registry changed %d times while it was looked at; last: %w", attempts, err)
}

// newest gives the newer of the two metas that are whole, as bbolt does.
func (c *registryPages) newest() (registryMeta, error) {
	var best registryMeta
	var failures []error
	for number := range uint64(2) {
		m, err := c.readMeta(number)
		if err != nil {
			failures = append(failures, err)
		} else if best.highWater == 0 || m.tx > best.tx {
			best = m
		}
	}
	if len(failures) == 2 {
		return best, errors.Join(failures...)
	}
	return best, nil
}

func (c *registryPages) readMeta(number uint64) (registryMeta, error) {
	page, err := c.read(number, 1)
	if err != nil {
		return registryMeta{}, err
	}
	raw := page[pageHeaderSize : pageHeaderSize+metaSize]
	sum := fnv.New64a()
	_, _ = sum.Write(raw[:metaChecksum])
	u32, u64 := binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
	switch {
	case u32(raw) != boltMagic || u32(raw[4:]) != boltVersion || u32(raw[metaPageSize:]) != registryPageSize:
		return registryMeta{}, structureError("page %d is not the beginning of a database", number)
	case u64(raw[metaChecksum:]) != sum.Sum64():
		return registryMeta{}, structureError("page %d has a wrong checksum", number)
	}
	m := registryMeta{root: u64(raw[metaRoot:]), freelist: u64(raw[metaFreelist:]), highWater: u64(raw[metaHighWater:]), tx: u64(raw[metaTx:])}
	if m.highWater < 3 || m.highWater > c.pages {
		return registryMeta{}, structureError("it has %d pages, the file %d", m.highWater, c.pages)
	}
	return m, nil
}

func (c *registryPages) read(number, count uint64) ([]byte, error) {
	if count == 0 || number >= c.pages || count > c.pages-number {
		return nil, structureError("page %d with %d behind it lies outside of the file", number, count-1)
	}
	page := make([]byte, count*registryPageSize)
	if _, err := c.file.ReadAt(page, int64(number)*registryPageSize); err != nil {
		return nil, fmt.Errorf("read page %d of the registry: %w", number, err)
	}
	return page, nil
}

func (c *registryPages) check() error {
	c.seen = map[uint64]string{0: "a meta page", 1: "a meta page"}
	if err := c.tree(c.meta.root, 0, nil, nil); err != nil {
		return err
	}
	if err := c.free(); err != nil {
		return err
	}
	for number := range c.meta.highWater {
		if _, ok := c.seen[number]; !ok {
			return structureError("page %d is neither used nor free", number)
		}
	}
	return nil
}

// take notes that pages are used, once.
func (c *registryPages) take(number, count uint64, use string) error {
	for n := number; n < number+count; n++ {
		if n >= c.meta.highWater {
			return structureError("page %d is behind the last, %d", n, c.meta.highWater-1)
		}
		if other, ok := c.seen[n]; ok {
			return structureError("page %d is %s and %s", n, other, use)
		}
		c.seen[n] = use
	}
	return nil
}

// page reads a page with those that continue it, and notes that they are used.
func (c *registryPages) page(number uint64, kinds uint16, use string) (page []byte, flags uint16, err error) {
	if page, err = c.read(number, 1); err != nil {
		return nil, 0, err
	}
	flags = binary.NativeEndian.Uint16(page[8:])
	if id := binary.NativeEndian.Uint64(page); id != number || flags&kinds == 0 || flags&(flags-1) != 0 {
		return nil, 0, structureError("page %d says it is page %d of kind %#x", number, id, flags)
	}
	count := uint64(binary.NativeEndian.Uint32(page[12:])) + 1
	if err := c.take(number, count, use); err != nil {
		return nil, 0, err
	}
	if count > 1 {
		page, err = c.read(number, count)
	}
	return page, flags, err
}

func (c *registryPages) free() error {
	if c.meta.freelist == noFreelist {
		return nil
	}
	page, _, err := c.page(c.meta.freelist, pageFreelist, "the list of free pages")
	if err != nil {
		return err
	}
	count, at := uint64(binary.NativeEndian.Uint16(page[10:])), uint64(pageHeaderSize)
	if count == freelistLongMark {
		count, at = binary.NativeEndian.Uint64(page[at:]), at+8
	}
	if count > (uint64(len(page))-at)/8 {
		return structureError("the list of free pages has %d entries", count)
	}
	for i := range count {
		if err := c.take(binary.NativeEndian.Uint64(page[at+8*i:]), 1, "free"); err != nil {
			return err
		}
	}
	return nil
}

// tree checks a page, and the pages below it, whose keys must be from low on and below high, where there is one.
func (c *registryPages) tree(number uint64, depth int, low, high []byte) error {
	if depth > maximumPageDepth {
		return structureError("page %d lies deeper than %d pages", number, maximumPageDepth)
	}
	page, flags, err := c.page(number, pageBranch|pageLeaf, "in use")
	if err != nil {
		return err
	}
	elements, err := pageElements(page, flags, number)
	if err != nil {
		return err
	}
	for i, e := range elements {
		if low != nil && bytes.Compare(e.key, low) < 0 || high != nil && bytes.Compare(e.key, high) >= 0 {
			return structureError("page %d has a key out of order", number)
		}
		switch {
		case flags == pageBranch:
			next := high
			if i+1 < len(elements) {
				next = elements[i+1].key
			}
			err = c.tree(e.child, depth+1, e.key, next)
		case e.bucket:
			err = c.bucket(e.value, number, depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *registryPages) bucket(value []byte, number uint64, depth int) error {
	if len(value) < bucketHeaderSize {
		return structureError("page %d has a bucket of %d bytes", number, len(value))
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return c.tree(root, depth+1, nil, nil)
	}
	inline := value[bucketHeaderSize:]
	if len(inline) < pageHeaderSize {
		return structureError("page %d has a bucket of %d bytes", number, len(value))
	}
	_, err := pageElements(inline, pageLeaf, number)
	return err
}

// pageElement is what a branch or a leaf has under a key.
type pageElement struct {
	key, value []byte
	child      uint64
	bucket     bool
}

// pageElements takes a page apart. Keys ascend.
func pageElements(page []byte, flags uint16, number uint64) ([]pageElement, error) {
	return appendPageElements(nil, page, flags, number)
}

// appendPageElements does so into the memory of an empty slice.
func appendPageElements(elements []pageElement, page []byte, flags uint16, number uint64) ([]pageElement, error) {
	count := int(binary.NativeEndian.Uint16(page[10:]))
	if count > (len(page)-pageHeaderSize)/elementSize {
		return nil, structureError("page %d has %d entries", number, count)
	}
	elements = slices.Grow(elements, count)[:count]
	clear(elements)
	for i := range elements {
		at := pageHeaderSize + i*elementSize
		raw := page[at : at+elementSize]
		u32 := func(offset int) uint64 { return uint64(binary.NativeEndian.Uint32(raw[offset:])) }
		position, keySize, valueSize := u32(4), u32(8), u32(12)
		e := &elements[i]
		if flags == pageBranch {
			position, keySize, valueSize = u32(0), u32(4), 0
			e.child = binary.NativeEndian.Uint64(raw[8:])
		} else {
			e.bucket = u32(0)&leafBucket != 0
		}
		// Positions count from the element itself.
		begin := uint64(at) + position
		if begin+keySize+valueSize > uint64(len(page)) {
			return nil, structureError("page %d has an entry outside of it", number)
		}
		e.key, e.value = page[begin:begin+keySize], page[begin+keySize:begin+keySize+valueSize]
		if i > 0 && bytes.Compare(elements[i-1].key, e.key) >= 0 {
			return nil, structureError("page %d has a key out of order", number)
		}
	}
	return elements, nil
}
