package thinmetadata

import (
	"encoding/binary"
	"errors"
	"testing"
)

// spaceMapped is metadata of four blocks: superblock, index, bitmap, and a superblock's copy in block 3.
func spaceMapped(held, details, index, bitmap uint64, bits []byte) *Device {
	u64 := binary.LittleEndian.PutUint64
	fields := func(number, held uint64) func(*Block) {
		return func(b *Block) {
			u64(b[fieldBlockNumber:], number)
			u64(b[fieldHeldRoot:], held)
			u64(b[fieldDetailsRoot:], details)
			u64(b[fieldSpaceMapIndex:], index)
			u64(b[fieldMetadataBlocks:], 4)
		}
	}
	var indexed, mapped Block
	u64(indexed[spaceMapBlockNumber:], 1)
	u64(indexed[spaceMapHeader:], bitmap)
	u64(mapped[spaceMapBlockNumber:], 2)
	copy(mapped[spaceMapHeader:], bits)
	binary.LittleEndian.PutUint32(indexed[:], checksum(&indexed, indexSalt))
	binary.LittleEndian.PutUint32(mapped[:], checksum(&mapped, bitmapSalt))
	return on(superblock(fields(0, held)), &indexed, &mapped, superblock(fields(3, 0)))
}

func TestSettledHeldRoot(t *testing.T) {
	// Two bits for each block, the lower one the more significant: 2 is once, 1 is twice, 3 is more.
	once, twice := func(block uint) byte { return 2 << (2 * block) }, func(block uint) byte { return 1 << (2 * block) }
	for name, c := range map[string]struct {
		held, details uint64
		bits          byte
		want          uint64
	}{
		"none":                               {0, 2, once(2), 0},
		"committed":                          {3, 2, once(3) | twice(2), 3},
		"never committed":                    {3, 2, once(2), 0},
		"never committed, its block is used": {2, 1, once(1) | once(2), 0},
		"release cut":                        {0, 2, once(3) | twice(2), 3},
		"release cut, its block not counted": {0, 2, twice(2), 0},
	} {
		device := spaceMapped(c.held, c.details, 1, 2, []byte{c.bits})
		s, err := device.ReadSuperblock(0)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := device.settledHeldRoot(t.Context(), s); got != c.want || err != nil {
			t.Errorf("%s: %d, %v; want %d", name, got, err, c.want)
		}
	}
}

// FuzzHeldRoot: the root that is settled on is none, or a block that the space map counts; what cannot be told is ErrDamaged.
func FuzzHeldRoot(f *testing.F) {
	f.Add(uint64(3), uint64(2), uint64(1), uint64(2), []byte{0x90})
	f.Add(uint64(0), uint64(2), uint64(1), uint64(2), []byte{0x90})
	f.Add(uint64(9), uint64(2), uint64(2), uint64(1), []byte{})
	f.Fuzz(func(t *testing.T, held, details, index, bitmap uint64, bits []byte) {
		device := spaceMapped(held, details, index, bitmap, bits)
		s, err := device.ReadSuperblock(0)
		if err != nil {
			t.Fatal(err)
		}
		settled, err := device.settledHeldRoot(t.Context(), s)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
			return
		}
		if references, err := device.references(s, settled); settled != 0 && (references == 0 || err != nil) {
			t.Errorf("settled on %d, which has %d references, %v", settled, references, err)
		}
	})
}
