package thinpool

import (
	"bytes"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// parseVolumeRecord reads a record of the usual form: as encodeRecord writes it for a volume with a file system and mkfs's
// defaults, that was not grown and has no owner. An open reads ten thousand of them, and encoding/json takes several times as
// long (BenchmarkVolumeRecord). Of any other form it says nothing but that it is not this one.
func parseVolumeRecord(raw []byte) (r volumeRecord, usual bool) {
	s := recordScanner{rest: raw, usual: true}
	s.expect(`{"thinID":`)
	thin := s.number()
	r.ThinID = uint32(thin)
	s.expect(`,"size":`)
	r.Size = s.number()
	s.expect(`,"format":{"type":"`)
	switch filesystem.Type(s.text()) {
	case filesystem.Ext4:
		r.Format.Type = filesystem.Ext4
	case filesystem.XFS:
		r.Format.Type = filesystem.XFS
	default:
		return r, false
	}
	s.expect(`},"created":"`)
	if err := r.Created.UnmarshalText(s.text()); err != nil {
		return r, false
	}
	if s.next(`,"source":"`) {
		r.Source = string(s.text())
	}
	s.expect(`}`)
	return r, s.usual && len(s.rest) == 0 && thin <= int64(devicemapper.MaxThinID)
}

// decodeVolume reads a record of any form.
func decodeVolume(decoder recordDecoder[volumeRecord], raw []byte) (volumeRecord, error) {
	if r, usual := parseVolumeRecord(raw); usual {
		return r, damagedUnless(r.validate())
	}
	return decoder.decode(raw)
}

// recordScanner goes through a record; usual becomes false where it is something else than was expected.
type recordScanner struct {
	rest  []byte
	usual bool
}

// next steps over a text, if it is there.
func (s *recordScanner) next(text string) bool {
	there := len(s.rest) >= len(text) && string(s.rest[:len(text)]) == text
	if there {
		s.rest = s.rest[len(text):]
	}
	return there
}

func (s *recordScanner) expect(text string) { s.usual = s.next(text) && s.usual }

// number reads a whole number without sign and leading zeros. It has at most 17 digits: more than the largest volume has bytes,
// and no overflow.
func (s *recordScanner) number() (n int64) {
	digits := 0
	for ; digits < len(s.rest) && digits < 17 && s.rest[digits]-'0' <= 9; digits++ {
		n = n*10 + int64(s.rest[digits]-'0')
	}
	s.usual = s.usual && digits > 0 && (s.rest[0] != '0' || digits == 1)
	s.rest = s.rest[digits:]
	return n
}

// text reads up to the quotation mark that ends it. One with anything that JSON writes in another way is not usual.
func (s *recordScanner) text() []byte {
	end := bytes.IndexByte(s.rest, '"')
	if end < 0 {
		s.usual = false
		return nil
	}
	text := s.rest[:end]
	s.rest = s.rest[end+1:]
	for _, c := range text {
		s.usual = s.usual && c >= ' ' && c < 0x7F && c != '\\'
	}
	return text
}
