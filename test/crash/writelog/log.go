package writelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrFormat reports what is not a log of the target log-writes.
var ErrFormat = errors.New("not a log of dm-log-writes")

// Flag says what an entry is.
type Flag uint64

// Flags of struct log_write_entry.
const (
	Flush    Flag = 1 << 0
	FUA      Flag = 1 << 1
	Discard  Flag = 1 << 2
	Mark     Flag = 1 << 3
	Metadata Flag = 1 << 4 // a hint of the file system, of no consequence here

	allFlags = Flush | FUA | Discard | Mark | Metadata
)

// struct log_write_super: magic, version, number of entries (64 bits each), sector size (32 bits), little-endian, in the
// log's first sector.
const (
	superMagic   = 0x6a736677736872
	superVersion = 1
	superSize    = 28
)

// struct log_write_entry: sector, number of sectors, flags, length of a mark's name; 64 bits each, little-endian. It takes a
// sector, a mark's name the rest of that; the data follows in the next sectors. All counts are of sectors of the logged
// device's logical block size.
const entrySize = 32

// Entry is one recorded write, flush, discard or mark. Offsets and lengths are in bytes.
type Entry struct {
	Flags  Flag
	Offset int64 // on the logged device
	Length int64 // of the data, or of what was discarded; 0 for a flush alone and for a mark
	Name   string

	data int64 // where on the log device its data begins
}

// Is reports whether the entry has one of the flags.
func (e Entry) Is(flags Flag) bool { return e.Flags&flags != 0 }

// plain: a write or a discard that waited for a flush.
func (e Entry) plain() bool { return !e.Is(Flush | FUA | Mark) }

// Log is a recording that has ended.
type Log struct {
	Entries []Entry
	device  io.ReaderAt
}

// Read reads the log on a device of size bytes; data stays there until it is replayed. What cannot be a log is ErrFormat.
func Read(device io.ReaderAt, size int64) (*Log, error) {
	head := make([]byte, superSize)
	if _, err := device.ReadAt(head, 0); err != nil {
		return nil, fmt.Errorf("superblock: %w", err)
	}
	if magic, version := binary.LittleEndian.Uint64(head), binary.LittleEndian.Uint64(head[8:]); magic != superMagic || version != superVersion {
		return nil, fmt.Errorf("%w: magic %#x, version %d", ErrFormat, magic, version)
	}
	count, sector := binary.LittleEndian.Uint64(head[16:]), int64(binary.LittleEndian.Uint32(head[24:]))
	if sector < 512 || sector > 64<<10 || sector&(sector-1) != 0 {
		return nil, fmt.Errorf("%w: sectors of %d bytes", ErrFormat, sector)
	}
	if count > uint64(size/sector) {
		return nil, fmt.Errorf("%w: %d entries on %d bytes", ErrFormat, count, size)
	}
	log := &Log{device: device, Entries: make([]Entry, 0, count)}
	raw := make([]byte, sector)
	for at := sector; uint64(len(log.Entries)) < count; {
		if at+sector > size {
			return nil, fmt.Errorf("%w: entry %d is beyond the end", ErrFormat, len(log.Entries))
		}
		if _, err := device.ReadAt(raw, at); err != nil {
			return nil, fmt.Errorf("entry %d: %w", len(log.Entries), err)
		}
		entry, err := parseEntry(raw, sector, size)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", len(log.Entries), err)
		}
		at += sector
		entry.data = at
		if !entry.Is(Discard) {
			at += entry.Length
		}
		log.Entries = append(log.Entries, entry)
	}
	return log, nil
}

// parseEntry reads one entry from its sector. size bounds what it may claim.
func parseEntry(raw []byte, sector, size int64) (Entry, error) {
	start, sectors := binary.LittleEndian.Uint64(raw), binary.LittleEndian.Uint64(raw[8:])
	flags, name := Flag(binary.LittleEndian.Uint64(raw[16:])), binary.LittleEndian.Uint64(raw[24:])
	const limit = 1 << 62
	switch {
	case flags&^allFlags != 0:
		return Entry{}, fmt.Errorf("%w: flags %#x", ErrFormat, uint64(flags))
	case start > limit/uint64(sector) || sectors > limit/uint64(sector):
		return Entry{}, fmt.Errorf("%w: %d sectors from %d on", ErrFormat, sectors, start)
	case flags&Discard == 0 && int64(sectors)*sector > size:
		return Entry{}, fmt.Errorf("%w: %d sectors of data", ErrFormat, sectors)
	case flags&Mark != 0 && (sectors != 0 || name > uint64(sector)-entrySize), flags&Mark == 0 && name != 0:
		return Entry{}, fmt.Errorf("%w: a name of %d bytes", ErrFormat, name)
	}
	return Entry{
		Flags: flags, Offset: int64(start) * sector, Length: int64(sectors) * sector, Name: string(raw[entrySize : entrySize+name]),
	}, nil
}
