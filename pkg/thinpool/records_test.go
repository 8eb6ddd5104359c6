package thinpool

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

func exampleVolume() volumeRecord {
	return volumeRecord{ThinID: 7, Size: 1 << 30, Format: formatRecord{Type: filesystem.XFS, Options: []string{"-i", "size=1024"}}, Created: time.Unix(1700000000, 0).UTC()}
}

func exampleBase() baseRecord {
	v := exampleVolume()
	return baseRecord{ThinID: 3, Size: v.Size, Format: v.Format, UUID: "00", MappedBytes: 1 << 20, Created: v.Created}
}

func roundTrip[R record](t *testing.T, want R) {
	t.Helper()
	got, err := decodeRecord[R](encodeRecord(want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestRecordsRoundTrip(t *testing.T) {
	v, b := exampleVolume(), exampleBase()
	roundTrip(t, v)
	owned := v
	owned.Owner = "pods/0a/volumes/kubernetes.io~csi/x/mount"
	roundTrip(t, owned)
	roundTrip(t, b)
	roundTrip(t, intentRecord{Kind: intentCreateVolume, Name: "a", Volume: &v})
	roundTrip(t, intentRecord{Kind: intentDeleteVolume, Name: "a", Volume: &v})
	roundTrip(t, intentRecord{Kind: intentCreateBase, Base: &b})
	roundTrip(t, intentRecord{Kind: intentDeleteBase, Base: &b})
	roundTrip(t, intentRecord{Kind: intentCreateGroup, Group: []groupRecord{{"a", v}}})
	roundTrip(t, poolRecord{Version: registryVersion, PoolID: newPoolID(), BlockSectors: 128})
}

func TestRecordsRefuse(t *testing.T) {
	for _, text := range []string{
		``, `null`, `{}`, `[]`, `{"thinID":16777216,"size":1}`, `{"thinID":1,"size":0}`, `{"thinID":1,"size":-1}`,
		`{"thinID":1,"size":1,"format":{"type":"ntfs"}}`, `{"thinID":1,"size":1,"format":{"options":["-x"]}}`,
		`{"thinID":1,"size":1,"format":{"type":"ext4","options":["-d","/etc"]}}`,
		`{"thinID":1,"size":1,"unknown":1}`, `{"thinID":1,"size":1,"owner":"a b"}`, `{"thinID":1,"size":1}{}`, `{"thinID":1,"size":9223372036854775807}`,
	} {
		if r, err := decodeRecord[volumeRecord]([]byte(text)); !errors.Is(err, errRecordDamaged) {
			t.Errorf("%s became %+v, %v", text, r, err)
		}
	}
	v, b := exampleVolume(), exampleBase()
	for _, r := range []intentRecord{
		{}, {Kind: "sell", Name: "a", Volume: &v}, {Kind: intentCreateVolume, Name: "../a", Volume: &v}, {Kind: intentCreateVolume, Name: "a"},
		{Kind: intentCreateGroup}, {Kind: intentCreateGroup, Name: "a", Group: []groupRecord{{"a", v}}}, {Kind: intentCreateGroup, Group: []groupRecord{{"a", v}, {"b", v}}},
		{Kind: intentCreateGroup, Group: []groupRecord{{"../a", v}}}, {Kind: intentCreateGroup, Group: make([]groupRecord, MaximumGroup+1)},
		{Kind: intentCreateBase, Volume: &v}, {Kind: intentDeleteBase}, {Kind: intentCreateBase, Name: "a", Base: &b}, {Kind: intentDeleteVolume, Name: "a", Volume: &v, Base: &b},
	} {
		if got, err := decodeRecord[intentRecord](encodeRecord(r)); !errors.Is(err, errRecordDamaged) {
			t.Errorf("%+v became %+v, %v", r, got, err)
		}
	}
}

func TestPoolRecordVersions(t *testing.T) {
	newer := fmt.Sprintf(`{"version":%d,"somethingNew":true}`, registryVersion+1)
	if _, err := decodePoolRecord([]byte(newer)); !errors.Is(err, errRecordNewer) {
		t.Errorf("newer: %v", err)
	}
	for version := 1; version <= registryVersion; version++ {
		old := poolRecord{Version: version, PoolID: newPoolID(), BlockSectors: 128}
		if r, err := decodePoolRecord(encodeRecord(old)); err != nil || r != old {
			t.Errorf("version %d: %+v, %v", version, r, err)
		}
	}
	if _, err := decodePoolRecord([]byte(`{"version":0}`)); !errors.Is(err, errRecordDamaged) {
		t.Errorf("version 0: %v", err)
	}
	if _, err := decodePoolRecord(nil); !errors.Is(err, errRecordDamaged) {
		t.Errorf("none: %v", err)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	v, b := exampleVolume(), exampleBase()
	f.Add(encodeRecord(v))
	f.Add(encodeRecord(b))
	f.Add(encodeRecord(intentRecord{Kind: intentCreateVolume, Name: "a", Volume: &v}))
	f.Add(encodeRecord(poolRecord{Version: registryVersion, PoolID: newPoolID(), BlockSectors: 128}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		fuzzRecord[volumeRecord](t, raw)
		fuzzRecord[baseRecord](t, raw)
		fuzzRecord[intentRecord](t, raw)
		if r, err := decodePoolRecord(raw); err == nil && (r.Version < 1 || r.Version > registryVersion || r.validate() != nil) {
			t.Errorf("%s became %+v", raw, r)
		}
	})
}

func fuzzRecord[R record](t *testing.T, raw []byte) {
	r, err := decodeRecord[R](raw)
	if err != nil {
		return
	}
	if err := r.validate(); err != nil {
		t.Errorf("%s was accepted: %v", raw, err)
	}
	if again, err := decodeRecord[R](encodeRecord(r)); err != nil || !bytes.Equal(encodeRecord(again), encodeRecord(r)) {
		t.Errorf("%+v became %+v, %v", r, again, err)
	}
}
