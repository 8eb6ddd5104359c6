package thinpool

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// swept gives all records of a database, each under its bucket and key, and fails if one comes twice.
func swept(content []byte) (map[string]string, error) {
	records := map[string]string{}
	_, err := sweepRecords(bytes.NewReader(content), int64(len(content)), func(bucket string, key, value []byte) error {
		name := bucket + "\x00" + string(key)
		if _, twice := records[name]; twice {
			return fmt.Errorf("%q comes twice", name)
		}
		records[name] = string(value)
		return nil
	})
	return records, err
}

// walked gives the same through bbolt.
func walked(t *testing.T, content []byte) map[string]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	records := map[string]string{}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(key, value []byte) error {
				records[string(name)+"\x00"+string(key)] = string(value)
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func TestSweepRecords(t *testing.T) {
	for _, entries := range []int{0, 1, 20, 500, 2000, 20_000} {
		content := database(t, entries)
		got, err := swept(content)
		if err != nil {
			t.Errorf("%d entries: %v", entries, err)
		}
		if want := walked(t, content); !maps.Equal(got, want) {
			t.Errorf("%d entries: %d records were read, bbolt reads %d", entries, len(got), len(want))
		}
	}
}

// TestSweepContents: what is read quickly is what bbolt reads.
func TestSweepContents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: registryPageSize, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const volumes = 3000
	err = db.Update(func(tx *bbolt.Tx) error {
		put := func(bucket string, key, value []byte) {
			b, err := tx.CreateBucketIfNotExists([]byte(bucket))
			if err == nil {
				err = b.Put(key, value)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		put(bucketPool, []byte(keyPoolRecord), encodeRecord(poolRecord{Version: registryVersion, PoolID: newPoolID(), BlockSectors: 128}))
		put(bucketPool, []byte(keyFolded), intentKey(77))
		put(bucketPool, []byte(keyNextThinID), thinIDKey(5))
		v, b := exampleVolume(), exampleBase()
		put(bucketBases, thinIDKey(3), encodeRecord(b))
		put(bucketIntents, intentKey(9), encodeRecord(intentRecord{Kind: intentDeleteVolume, Name: "gone", Volume: &v}))
		for i := range volumes {
			v := volumeRecord{ThinID: uint32(i + 10), Size: int64(i+1) << 20, Format: formatRecord{Type: filesystem.Ext4}, Created: time.Now().UTC()}
			if i%10 == 0 {
				v.Owner = "pods/0a/volumes/kubernetes.io~csi/x/mount"
			}
			put(bucketVolumes, fmt.Appendf(nil, "pvc-%d", i), encodeRecord(v))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	quick, err := sweepContents(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	var slow *registryContents
	if err := db.View(func(tx *bbolt.Tx) (err error) { slow, err = walkContents(tx); return err }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%+v %+v", dereferenced(quick), quick.inUse) != fmt.Sprintf("%+v %+v", dereferenced(slow), slow.inUse) || len(quick.volumes) != volumes || quick.nextThinID != volumes+10 {
		t.Errorf("read quickly: %d volumes, next thin id %d, %d pages; through bbolt: %d, %d, %d",
			len(quick.volumes), quick.nextThinID, quick.inUse, len(slow.volumes), slow.nextThinID, slow.inUse)
	}
}

// dereferenced are contents that print alike if they are alike.
func dereferenced(c *registryContents) any {
	volumes := map[string]volumeRecord{}
	for name, v := range c.volumes {
		volumes[name] = v.record
	}
	intents := map[uint64]string{}
	for number, r := range c.intents {
		intents[number] = string(encodeRecord(r))
	}
	return []any{c.pool, c.nextThinID, volumes, c.bases, intents, c.folded}
}

// FuzzSweepRecords: a damaged file is an error or reads as something, and never ends the process or goes on for ever.
func FuzzSweepRecords(f *testing.F) {
	content := database(f, 300)
	f.Add(uint32(0), []byte{})
	f.Add(uint32(3*registryPageSize+8), []byte{1, 0, 255, 255})
	f.Add(uint32(4*registryPageSize+16), bytes.Repeat([]byte{255}, 64))
	f.Fuzz(func(_ *testing.T, at uint32, damage []byte) {
		damaged := bytes.Clone(content)
		copy(damaged[int(at)%len(damaged):], damage)
		_, _ = swept(damaged)
	})
}
