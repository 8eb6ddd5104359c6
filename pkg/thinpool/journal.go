package thinpool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// The journal makes a commit durable with one write and one flush, where a transaction of bbolt takes half a dozen writes
// and two flushes. It is a ring of slots in a file beside bbolt's, all of it written when it is made. A record of it is
// what one commit wrote, in as many slots as it takes. Every so often what is in the journal is folded into bbolt, in one
// transaction that also says up to which record, and then the slots are free again; so is it when the registry is opened.
//
//	bytes 0–7     "CSIDMJ\x01\n"
//	bytes 8–11    CRC-32C of what follows, up to the end of the payload; little-endian, as all numbers
//	bytes 12–15   length of the payload
//	bytes 16–23   sequence: one more than that of the record before
//	bytes 24–     payload: the writes, see appendWrites
//
// The next record is written only after the last one is durable, and over folded ones only. So whatever a crash leaves of
// the last is all that can be missing, the checksum tells, and nobody was told that it is committed.
const (
	journalSize    = 1 << 20 // bytes
	journalSlot    = 4096    // bytes
	journalSlots   = journalSize / journalSlot
	journalHeader  = 24
	journalMagic   = "CSIDMJ\x01\n"
	journalPayload = journalSize/4 - journalHeader // bytes at most
	journalChunk   = 16 * journalSlot              // that is read at once, to look for records

	// foldSlots and foldWrites are how much the journal holds before it is folded; one transaction folds foldWrites at most.
	foldSlots  = journalSlots / 2
	foldWrites = 512
	// foldPages of the registry are free for a transaction of foldWrites, or nothing is put into the journal: for each a leaf
	// of its own, every other one split, the branches above them, and the list of free pages.
	foldPages = 4 * foldWrites
)

// errJournalFull: the writes do not fit into what is free of the journal.
var errJournalFull = errors.New("journal is full")

// journalStorage is where a journal lies.
type journalStorage interface {
	io.ReaderAt
	io.WriterAt
	// Flush makes what was written durable.
	Flush() error
}

// journal appends records. It is used by one goroutine.
type journal struct {
	storage  journalStorage
	sequence uint64 // of the last record
	next     int    // slot
	used     int    // slots that are not folded, those left out at the ring's end among them
	buffer   []byte
}

// append makes writes durable as one record. After an error other than errJournalFull it is not known whether they are.
func (j *journal) append(writes []write) error {
	j.buffer = appendRecord(j.buffer[:0], j.sequence+1, writes)
	slots := len(j.buffer) / journalSlot
	skipped := 0
	if j.next+slots > journalSlots {
		skipped = journalSlots - j.next
	}
	if len(j.buffer) > journalPayload || j.used+skipped+slots > journalSlots {
		return errJournalFull
	}
	at := (j.next + skipped) % journalSlots
	if _, err := j.storage.WriteAt(j.buffer, int64(at)*journalSlot); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := j.storage.Flush(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.sequence++
	j.next, j.used = (at+slots)%journalSlots, j.used+skipped+slots
	return nil
}

// folded says that all records are in bbolt.
func (j *journal) folded() { j.used = 0 }

// readJournal gives the writes of all records behind the one with the sequence that was folded last, in their order, and
// the last one's sequence.
func readJournal(storage io.ReaderAt, folded uint64) (writes []write, last uint64, err error) {
	records := map[uint64][]write{}
	chunk := make([]byte, journalChunk)
	for begin := int64(0); begin < journalSize; begin += journalChunk {
		if _, err := storage.ReadAt(chunk, begin); err != nil {
			return nil, 0, fmt.Errorf("journal: %w", err)
		}
		for at := int64(0); at < journalChunk; at += journalSlot {
			// Behind a record's first slot nothing looks like a record, unless it is one that was written over it later.
			length, sequence, ok := parseHeader(chunk[at:])
			if !ok || sequence <= folded || length > journalSize-begin-at {
				continue
			}
			raw := make([]byte, length)
			if _, err := storage.ReadAt(raw, begin+at); err != nil {
				return nil, 0, fmt.Errorf("journal: %w", err)
			}
			if sequence, record, ok := parseRecord(raw); ok {
				records[sequence] = record
			}
		}
	}
	for last = folded; ; last++ {
		record, ok := records[last+1]
		if !ok {
			return writes, last, nil
		}
		writes = append(writes, record...)
	}
}

// appendRecord appends a record, as many whole slots as it takes, to an empty buffer.
func appendRecord(buffer []byte, sequence uint64, writes []write) []byte {
	buffer = append(buffer, journalMagic...)
	buffer = binary.LittleEndian.AppendUint32(buffer, 0)
	buffer = binary.LittleEndian.AppendUint32(buffer, 0)
	buffer = binary.LittleEndian.AppendUint64(buffer, sequence)
	buffer = appendWrites(buffer, writes)
	binary.LittleEndian.PutUint32(buffer[12:], uint32(len(buffer)-journalHeader))
	binary.LittleEndian.PutUint32(buffer[8:], crc32.Checksum(buffer[12:], castagnoli))
	if rest := len(buffer) % journalSlot; rest > 0 {
		buffer = append(buffer, make([]byte, journalSlot-rest)...)
	}
	return buffer
}

// parseRecord reads the record that begins with raw, if one does.
func parseRecord(raw []byte) (sequence uint64, writes []write, ok bool) {
	end, sequence, ok := parseHeader(raw)
	if !ok || end > int64(len(raw)) {
		return 0, nil, false
	}
	if crc32.Checksum(raw[12:end], castagnoli) != binary.LittleEndian.Uint32(raw[8:]) {
		return 0, nil, false
	}
	writes, ok = parseWrites(raw[journalHeader:end])
	return sequence, writes, ok
}

// parseHeader reads how long a record is, its header included, and its sequence, if raw begins like one. Nothing of it is
// checked yet.
func parseHeader(raw []byte) (length int64, sequence uint64, ok bool) {
	if len(raw) < journalHeader || string(raw[:8]) != journalMagic {
		return 0, 0, false
	}
	return journalHeader + int64(binary.LittleEndian.Uint32(raw[12:])), binary.LittleEndian.Uint64(raw[16:]), true
}

// appendWrites encodes writes: for each the bucket, the key, and a byte that is 0 for a removal or 1, followed by the value.
// Texts are preceded by their length (encoding/binary's uvarint).
func appendWrites(buffer []byte, writes []write) []byte {
	text := func(raw []byte) {
		buffer = binary.AppendUvarint(buffer, uint64(len(raw)))
		buffer = append(buffer, raw...)
	}
	for _, w := range writes {
		text([]byte(w.bucket))
		text(w.key)
		if w.value == nil {
			buffer = append(buffer, 0)
			continue
		}
		buffer = append(buffer, 1)
		text(w.value)
	}
	return buffer
}

func parseWrites(raw []byte) (writes []write, ok bool) {
	text := func() []byte {
		length, n := binary.Uvarint(raw)
		if n <= 0 || length > uint64(len(raw)-n) {
			ok = false
			return nil
		}
		value := raw[n : n+int(length) : n+int(length)]
		raw = raw[n+int(length):]
		return value
	}
	for ok = true; ok && len(raw) > 0; {
		w := write{bucket: string(text()), key: text()}
		if !ok || len(raw) == 0 || raw[0] > 1 {
			return nil, false
		}
		there := raw[0] == 1
		raw = raw[1:]
		if there {
			w.value = text()
		}
		writes = append(writes, w)
	}
	return writes, ok
}
