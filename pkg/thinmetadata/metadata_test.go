package thinmetadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// sealed puts checksum and block number on a block of a tree.
func sealed(number uint64, fill func(block *Block)) *Block {
	var block Block
	binary.LittleEndian.PutUint64(block[nodeBlockNumber:], number)
	fill(&block)
	binary.LittleEndian.PutUint32(block[:], checksum(&block, btreeSalt))
	return &block
}

// nodeBlock lays out a node of a tree with the given keys; each value is its key times ten.
func nodeBlock(number uint64, flags uint32, valueSize, most int, keys ...uint64) *Block {
	return sealed(number, func(block *Block) {
		binary.LittleEndian.PutUint32(block[nodeFlags:], flags)
		binary.LittleEndian.PutUint32(block[nodeEntries:], uint32(len(keys)))
		binary.LittleEndian.PutUint32(block[nodeMaxEntries:], uint32(most))
		binary.LittleEndian.PutUint32(block[nodeValueSize:], uint32(valueSize))
		for i, key := range keys {
			binary.LittleEndian.PutUint64(block[nodeHeaderSize+8*i:], key)
			binary.LittleEndian.PutUint64(block[nodeHeaderSize+8*most+valueSize*i:], key*10)
		}
	})
}

func on(blocks ...*Block) *Device {
	var content []byte
	for _, block := range blocks {
		content = append(content, block[:]...)
	}
	return &Device{ReaderAt: bytes.NewReader(content)}
}

func TestDetails(t *testing.T) {
	empty := &Block{}
	inner := sealed(1, func(block *Block) {
		binary.LittleEndian.PutUint32(block[nodeFlags:], nodeInternal)
		binary.LittleEndian.PutUint32(block[nodeEntries:], 2)
		binary.LittleEndian.PutUint32(block[nodeMaxEntries:], 252)
		binary.LittleEndian.PutUint32(block[nodeValueSize:], pointerSize)
		binary.LittleEndian.PutUint64(block[nodeHeaderSize+8:], 7)
		binary.LittleEndian.PutUint64(block[nodeHeaderSize+8*252:], 2)
		binary.LittleEndian.PutUint64(block[nodeHeaderSize+8*252+8:], 3)
	})
	device := on(empty, inner, nodeBlock(2, nodeLeaf, detailsSize, 126, 0, 5), nodeBlock(3, nodeLeaf, detailsSize, 126, 7, 1<<24-1))
	got, err := device.Details(t.Context(), Superblock{DetailsRoot: 1})
	if err != nil || len(got) != 4 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, id := range []uint32{0, 5, 7, 1<<24 - 1} {
		if got[i].ThinID != id || got[i].MappedBlocks != uint64(id)*10 {
			t.Errorf("entry %d: %+v", i, got[i])
		}
	}
}

func TestDetailsRefuse(t *testing.T) {
	empty := &Block{}
	flipped := *nodeBlock(1, nodeLeaf, detailsSize, 126, 1, 2)
	flipped[100] ^= 1
	loop := sealed(1, func(block *Block) {
		binary.LittleEndian.PutUint32(block[nodeFlags:], nodeInternal)
		binary.LittleEndian.PutUint32(block[nodeEntries:], 1)
		binary.LittleEndian.PutUint32(block[nodeMaxEntries:], 252)
		binary.LittleEndian.PutUint32(block[nodeValueSize:], pointerSize)
		binary.LittleEndian.PutUint64(block[nodeHeaderSize+8*252:], 1)
	})
	for name, block := range map[string]*Block{
		"zeros":                 empty,
		"a flipped bit":         &flipped,
		"another block":         nodeBlock(2, nodeLeaf, detailsSize, 126, 1),
		"neither leaf nor node": nodeBlock(1, 0, detailsSize, 126, 1),
		"other values":          nodeBlock(1, nodeLeaf, 8, 126, 1),
		"too many entries":      nodeBlock(1, nodeLeaf, detailsSize, 1, 1, 2),
		"beyond the block": sealed(1, func(b *Block) {
			copy(b[nodeFlags:], []byte{nodeLeaf, 0, 0, 0})
			copy(b[nodeMaxEntries:], []byte{255, 255, 255, 255, 24, 0, 0, 0})
		}),
		"keys out of order": nodeBlock(1, nodeLeaf, detailsSize, 126, 2, 1),
		"one key twice":     nodeBlock(1, nodeLeaf, detailsSize, 126, 1, 1),
		"a key too large":   nodeBlock(1, nodeLeaf, detailsSize, 126, 1<<24),
		"a loop":            loop,
	} {
		if got, err := on(empty, block).Details(t.Context(), Superblock{DetailsRoot: 1}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := on(empty).Details(t.Context(), Superblock{DetailsRoot: 1 << 60}); !errors.Is(err, ErrDamaged) {
		t.Errorf("a root far away: %v", err)
	}
	if _, err := on(empty).Details(t.Context(), Superblock{DetailsRoot: 1}); err == nil {
		t.Error("a root behind the end was read")
	}
}

func superblock(change func(block *Block)) *Block {
	var block Block
	binary.LittleEndian.PutUint64(block[fieldMagic:], superblockMagic)
	binary.LittleEndian.PutUint32(block[fieldVersion:], 2)
	binary.LittleEndian.PutUint32(block[fieldTime:], 77)
	binary.LittleEndian.PutUint32(block[fieldDataBlockSize:], 128)
	change(&block)
	binary.LittleEndian.PutUint32(block[:], checksum(&block, superblockSalt))
	return &block
}

func TestSuperblock(t *testing.T) {
	s, err := on(superblock(func(b *Block) { b[fieldFlags] = flagNeedsCheck })).ReadSuperblock(0)
	if err != nil || s.Time != 77 || s.DataBlockSize != 128 || !s.NeedsCheck {
		t.Errorf("%+v, %v", s, err)
	}
	flipped := *superblock(func(*Block) {})
	flipped[fieldTime]++
	for name, block := range map[string]*Block{
		"zeros": {}, "a flipped bit": &flipped,
		"another magic": superblock(func(b *Block) { b[fieldMagic]++ }),
		"version 0":     superblock(func(b *Block) { b[fieldVersion] = 0 }),
		"version 3":     superblock(func(b *Block) { b[fieldVersion] = 3 }),
	} {
		if s, err := on(block).ReadSuperblock(0); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

func FuzzDetails(f *testing.F) {
	f.Add(nodeBlock(0, nodeLeaf, detailsSize, 126, 1, 2)[:], nodeBlock(1, nodeLeaf, detailsSize, 126, 3)[:])
	f.Add(nodeBlock(0, nodeInternal, pointerSize, 252, 0, 1)[:], nodeBlock(1, nodeLeaf, detailsSize, 126, 3)[:])
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var blocks [2]*Block
		for i, raw := range [][]byte{first, second} {
			var block Block
			copy(block[:], raw)
			// Make the checks in front right, so that what lies behind them is reached.
			binary.LittleEndian.PutUint64(block[nodeBlockNumber:], uint64(i))
			binary.LittleEndian.PutUint32(block[:], checksum(&block, btreeSalt))
			blocks[i] = &block
		}
		details, err := on(blocks[:]...).Details(t.Context(), Superblock{})
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
		if err == nil {
			for i := range details {
				if details[i].ThinID > 1<<24-1 || i > 0 && details[i].ThinID <= details[i-1].ThinID {
					t.Errorf("accepted %+v", details)
				}
			}
		}
	})
}
