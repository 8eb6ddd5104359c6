package thinpool

import (
	"reflect"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// TestUsualVolumeRecord: what is written of most volumes is of the usual form, so an open does not fall back to encoding/json
// unnoticed.
func TestUsualVolumeRecord(t *testing.T) {
	check := func(thin uint32, size int64, xfs bool, created int64, nanoseconds uint32, from bool) bool {
		r := volumeRecord{
			ThinID: thin % (1 << 24), Size: 1 + (size&(1<<62-1))%maximumVolumeSize, Format: formatRecord{Type: filesystem.Ext4},
			Created: time.Unix(created%(1<<36), int64(nanoseconds)).UTC(),
		}
		if xfs {
			r.Format.Type = filesystem.XFS
		}
		if from {
			r.Source = "pvc-0a1b.c"
		}
		if r.Created.Year() < 0 || r.Created.Year() > 9999 {
			r.Created = time.Time{}
		}
		got, usual := parseVolumeRecord(encodeRecord(r))
		return usual && reflect.DeepEqual(got, r)
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

// TestUnusualVolumeRecord: everything else is encoding/json's.
func TestUnusualVolumeRecord(t *testing.T) {
	usual := string(encodeRecord(volumeRecord{ThinID: 7, Size: 1 << 30, Format: formatRecord{Type: filesystem.XFS}, Created: time.Unix(1700000000, 0).UTC(), Source: "a"}))
	if _, ok := parseVolumeRecord([]byte(usual)); !ok {
		t.Fatalf("%s is not usual", usual)
	}
	for old, replaced := range map[string]string{
		`"thinID":7`:   `"thinID":16777216`,
		`:7,`:          `:07,`,
		`"size":`:      `"size":-`,
		`1073741824`:   `1073741824000000000000`,
		`"xfs"`:        `"xfs","options":["-i","size=1024"]`,
		`xfs`:          `ntfs`,
		`2023-11-14T`:  `2023-11-14 `,
		`"source":"a"`: `"source":"\u0061"`,
		`"a"`:          `"a","createdSize":5`,
		`,"source"`:    `,"owner":"b","source"`,
		`"a"}`:         `"a"} `,
	} {
		if text := strings.Replace(usual, old, replaced, 1); text == usual {
			t.Errorf("%s is not in %s", old, usual)
		} else if r, ok := parseVolumeRecord([]byte(text)); ok {
			t.Errorf("%s is usual: %+v", text, r)
		}
	}
	for cut := range usual {
		if r, ok := parseVolumeRecord([]byte(usual[:cut])); ok {
			t.Errorf("%s is usual: %+v", usual[:cut], r)
		}
	}
}

// FuzzVolumeRecord: what is usual means what encoding/json says it means.
func FuzzVolumeRecord(f *testing.F) {
	v := exampleVolume()
	f.Add(encodeRecord(v))
	v.Format.Options = nil
	f.Add(encodeRecord(v))
	v.Source, v.Created = "b", time.Now()
	f.Add(encodeRecord(v))
	f.Fuzz(func(t *testing.T, raw []byte) {
		fast, usual := parseVolumeRecord(raw)
		if !usual {
			return
		}
		slow, err := decodeRecord[volumeRecord](raw)
		if fast.validate() != nil {
			if err == nil {
				t.Fatalf("%q is %+v, and damaged", raw, slow)
			}
			return
		}
		if err != nil || !reflect.DeepEqual(fast, slow) {
			t.Fatalf("%q is %+v; encoding/json: %+v, %v", raw, fast, slow, err)
		}
	})
}

// BenchmarkVolumeRecord compares the two ways to read a usual record.
func BenchmarkVolumeRecord(b *testing.B) {
	raw := encodeRecord(volumeRecord{ThinID: 7, Size: 1 << 30, Format: formatRecord{Type: filesystem.Ext4}, Created: time.Now().UTC()})
	b.Run("usual", func(b *testing.B) {
		for b.Loop() {
			if _, usual := parseVolumeRecord(raw); !usual {
				b.Fatalf("%s is not usual", raw)
			}
		}
	})
	b.Run("json", func(b *testing.B) {
		decoder := newRecordDecoder[volumeRecord]()
		for b.Loop() {
			if _, err := decoder.decode(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}
