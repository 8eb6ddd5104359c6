package devicemapper

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Segment maps Length sectors of a device, from sector Start on, to a target.
type Segment struct {
	Start, Length Sectors
	Target        Target
}

// String returns the segment as a line of a table: start, length, type and
// parameters.
func (s Segment) String() string {
	params, err := s.Target.params()
	if err != nil {
		params = "(" + err.Error() + ")"
	}
	return strings.TrimRight(fmt.Sprintf("%d %d %s %s", s.Start, s.Length, s.Target.Type(), params), " ")
}

// Table is the whole mapping of a device: segments that follow one another
// from sector 0 on without a gap.
type Table []Segment

// Length returns the size of the device that the table makes.
func (t Table) Length() Sectors {
	var length Sectors
	for _, segment := range t {
		length += segment.Length
	}
	return length
}

// String returns the segments, one to a line.
func (t Table) String() string {
	lines := make([]string, len(t))
	for i, segment := range t {
		lines[i] = segment.String()
	}
	return strings.Join(lines, "\n")
}

// encode lays the table out as DM_TABLE_LOAD wants it: per segment a struct
// dm_target_spec, whose next is the distance to the following one, and the
// parameters with a zero at their end.
func (t Table) encode() ([]byte, error) {
	if len(t) == 0 {
		return nil, invalid("table", "", "at least one segment")
	}
	var payload []byte
	var end Sectors
	for _, segment := range t {
		if segment.Target == nil {
			return nil, invalid("segment", fmt.Sprintf("%d %d", segment.Start, segment.Length), "a target")
		}
		params, err := segment.Target.params()
		if err != nil {
			return nil, err
		}
		switch {
		case segment.Start != end:
			return nil, invalid("segment", segment.String(), fmt.Sprintf("a start at sector %d, where the segment before ends", end))
		case segment.Length == 0 || segment.Length > MaxSectors-end:
			return nil, invalid("segment", segment.String(), fmt.Sprintf("a length from 1 to %d sectors", MaxSectors-end))
		case segment.Target.Type() == TypeThinPool && len(t) > 1: // DM_TARGET_SINGLETON
			return nil, invalid("segment", segment.String(), "no other segment in its table")
		}
		end += segment.Length
		payload = appendSpec(payload, segment, params)
	}
	return payload, nil
}

// Offsets within struct dm_target_spec.
const (
	specStart  = 0
	specLength = 8
	specNext   = 20
	specType   = 24
	specSize   = unix.SizeofDmTargetSpec
)

func appendSpec(payload []byte, segment Segment, params string) []byte {
	size := align(specSize + len(params) + 1)
	spec := make([]byte, size)
	binary.NativeEndian.PutUint64(spec[specStart:], uint64(segment.Start))
	binary.NativeEndian.PutUint64(spec[specLength:], uint64(segment.Length))
	binary.NativeEndian.PutUint32(spec[specNext:], uint32(size))
	copy(spec[specType:specSize], segment.Target.Type())
	copy(spec[specSize:], params)
	return append(payload, spec...)
}

// line is one target's answer to DM_TABLE_STATUS.
type line struct {
	start, length    Sectors
	targetType, text string
}

// parseLines reads the answer to DM_TABLE_STATUS. Here, unlike on the way in,
// next counts from the first dm_target_spec.
func parseLines(data []byte, count int) ([]line, error) {
	var lines []line
	for at := 0; len(lines) < count; {
		if at < 0 || at+specSize > len(data) {
			return nil, &FormatError{What: "table", Reason: fmt.Sprintf("record %d of %d is out of bounds", len(lines)+1, count)}
		}
		spec := data[at:]
		targetType, _ := text(spec[specType:specSize])
		params, terminated := text(spec[specSize:])
		if !terminated {
			return nil, &FormatError{What: "table", Text: params, Reason: "a line has no end"}
		}
		lines = append(lines, line{
			start:      Sectors(binary.NativeEndian.Uint64(spec[specStart:])),
			length:     Sectors(binary.NativeEndian.Uint64(spec[specLength:])),
			targetType: targetType,
			text:       params,
		})
		next := int(binary.NativeEndian.Uint32(spec[specNext:]))
		if next <= at && len(lines) < count {
			return nil, &FormatError{What: "table", Text: params, Reason: "the next record does not follow"}
		}
		at = next
	}
	return lines, nil
}
