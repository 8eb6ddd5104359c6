// Package content is what the crash tests write: data of which each sector tells by itself which write it came from, so that
// whatever is read back is known, a torn write or somebody else's data included.
package content

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// SectorSize is the least that a disk writes whole, in bytes.
	SectorSize = 512
	// ChunkSize is what is written at once, in bytes.
	ChunkSize = 16 << 10
)

// ErrForeign reports a sector that no write of the test has made: damage, or data of somebody else.
var ErrForeign = errors.New("data that was never written here")

// magic begins every sector.
var magic = [8]byte{'c', 'r', 'a', 's', 'h', 'e', 'd', '?'}

var zeros [SectorSize]byte

// Chunk gives the data of a chunk in the given version, which is not 0.
func Chunk(chunk int, version uint64) []byte {
	data := make([]byte, 0, ChunkSize)
	for sector := range ChunkSize / SectorSize {
		data = appendSector(data, chunk, sector, version)
	}
	return data
}

// appendSector: magic, version, chunk, sector, and noise that follows from these, so that no two sectors are alike anywhere.
func appendSector(data []byte, chunk, sector int, version uint64) []byte {
	end := len(data) + SectorSize
	data = append(data, magic[:]...)
	data = binary.LittleEndian.AppendUint64(data, version)
	data = binary.LittleEndian.AppendUint32(data, uint32(chunk))
	data = binary.LittleEndian.AppendUint32(data, uint32(sector))
	state := version<<16 ^ uint64(chunk)<<8 ^ uint64(sector) ^ 0x9e3779b97f4a7c15
	for len(data) < end {
		// xorshift64 (Marsaglia 2003)
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		data = binary.LittleEndian.AppendUint64(data, state)
	}
	return data
}

// Versions gives the versions of a chunk's sectors, 0 for one of zeros. data may be shorter than the chunk, for a file that
// ends there: what is missing counts as zeros. Anything else is ErrForeign.
func Versions(data []byte, chunk int) ([]uint64, error) {
	full := make([]byte, ChunkSize)
	copy(full, data)
	versions := make([]uint64, 0, ChunkSize/SectorSize)
	for sector := range ChunkSize / SectorSize {
		raw := full[sector*SectorSize:][:SectorSize]
		if bytes.Equal(raw, zeros[:]) {
			versions = append(versions, 0)
			continue
		}
		version := binary.LittleEndian.Uint64(raw[len(magic):])
		if !bytes.Equal(raw, appendSector(nil, chunk, sector, version)) {
			return nil, fmt.Errorf("%w: sector %d of chunk %d begins with %x", ErrForeign, sector, chunk, raw[:32])
		}
		versions = append(versions, version)
	}
	return versions, nil
}
