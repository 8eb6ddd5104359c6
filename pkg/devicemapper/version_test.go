package devicemapper

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

func answerVersions(targets []TargetVersion) []byte {
	var data []byte
	for i, target := range targets {
		record := make([]byte, align(16+len(target.Type)+1))
		binary.NativeEndian.PutUint32(record[4:], target.Version.Major)
		binary.NativeEndian.PutUint32(record[8:], target.Version.Minor)
		binary.NativeEndian.PutUint32(record[12:], target.Version.Patch)
		copy(record[16:], target.Type)
		if i < len(targets)-1 {
			binary.NativeEndian.PutUint32(record, uint32(len(record)))
		}
		data = append(data, record...)
	}
	return data
}

func TestParseTargetVersions(t *testing.T) {
	targets := []TargetVersion{{"linear", Version{1, 4, 0}}, {"thin-pool", Version{1, 22, 3}}, {"error", Version{1, 5, 0}}}
	data := answerVersions(targets)
	if got, err := parseTargetVersions(data); err != nil || !slices.Equal(got, targets) {
		t.Errorf("%v, %v, want %v", got, err, targets)
	}
	for cut := range len(data) - 8 {
		if got, err := parseTargetVersions(data[:cut]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut after %d bytes: %v, %v", cut, got, err)
		}
	}
	for _, next := range []uint32{1, 15, 1 << 31} {
		broken := bytes.Clone(data)
		binary.NativeEndian.PutUint32(broken, next)
		if got, err := parseTargetVersions(broken); !errors.Is(err, ErrMalformed) {
			t.Errorf("next record at %d: %v, %v", next, got, err)
		}
	}
}

func FuzzParseTargetVersions(f *testing.F) {
	f.Add(answerVersions([]TargetVersion{{"linear", Version{1, 4, 0}}, {"thin-pool", Version{1, 22, 3}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		targets, err := parseTargetVersions(data)
		if (err == nil) == (len(targets) == 0) {
			t.Errorf("%v, %v", targets, err)
		}
		if err == nil {
			if again, err := parseTargetVersions(answerVersions(targets)); err != nil || !slices.Equal(again, targets) {
				t.Errorf("%v became %v, %v", targets, again, err)
			}
		}
	})
}

func TestVersionLess(t *testing.T) {
	ordered := []Version{{1, 0, 9}, {1, 2, 0}, {1, 2, 3}, {1, 20, 0}, {2, 0, 0}}
	for i, a := range ordered {
		for j, b := range ordered {
			if a.Less(b) != (i < j) {
				t.Errorf("%v less than %v: %v", a, b, a.Less(b))
			}
		}
	}
}

func TestUnsupportedError(t *testing.T) {
	for want, err := range map[string]error{
		"device mapper: the kernel has no zero target":                                               &UnsupportedError{What: "zero target"},
		"device mapper: the kernel has no thin-pool target, at least version 1.20.0 is needed":       &UnsupportedError{What: "thin-pool target", Want: Version{1, 20, 0}},
		"device mapper: the kernel's thin-pool target has version 1.19.0, at least 1.20.0 is needed": &UnsupportedError{What: "thin-pool target", Have: Version{1, 19, 0}, Want: Version{1, 20, 0}},
	} {
		if err.Error() != want || !errors.Is(err, ErrUnsupported) {
			t.Errorf("%q, want %q", err, want)
		}
	}
}
