package thinpool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// database makes a database as the registry's is: buckets, many entries, deletions, a file larger than what is used.
func database(t testing.TB, entries int) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: registryPageSize, FreelistType: bbolt.FreelistMapType, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, uint64(entries)))
	for begin := 0; begin <= entries; begin += 500 {
		err = db.Update(func(tx *bbolt.Tx) error {
			for _, name := range buckets {
				bucket, err := tx.CreateBucketIfNotExists([]byte(name))
				if err != nil {
					return err
				}
				for i := begin; i < min(entries, begin+500); i++ {
					value := bytes.Repeat([]byte{byte(i)}, 100+r.IntN(200))
					if i%97 == 0 {
						value = bytes.Repeat(value, 60) // goes on behind its page
					}
					if err := bucket.Put(fmt.Appendf(nil, "%s-%06d", name, r.IntN(1e6)), value); err != nil {
						return err
					}
				}
				cursor := bucket.Cursor()
				for key, _ := cursor.First(); key != nil; key, _ = cursor.Next() {
					if r.IntN(10) == 0 {
						if err := cursor.Delete(); err != nil {
							return err
						}
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func checkPages(content []byte) error {
	return checkRegistryPages(bytes.NewReader(content), int64(len(content)))
}

func TestCheckRegistryPages(t *testing.T) {
	for _, entries := range []int{0, 1, 20, 2000} {
		if err := checkPages(database(t, entries)); err != nil {
			t.Errorf("%d entries: %v", entries, err)
		}
	}
}

// pagesOf lists the pages of a kind that the newest state of a database uses.
func pagesOf(t testing.TB, content []byte, kind uint16) []uint64 {
	t.Helper()
	c := &registryPages{file: bytes.NewReader(content), pages: uint64(len(content) / registryPageSize)}
	var err error
	if c.meta, err = c.newest(); err != nil {
		t.Fatal(err)
	}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	var numbers []uint64
	for number, use := range c.seen {
		page := content[number*registryPageSize:]
		if use != "free" && binary.NativeEndian.Uint64(page) == number && binary.NativeEndian.Uint16(page[8:]) == kind {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

func TestCheckRegistryPagesFindsDamage(t *testing.T) {
	whole := database(t, 1000)
	leaf, branch, list := pagesOf(t, whole, pageLeaf)[0], pagesOf(t, whole, pageBranch)[0], pagesOf(t, whole, pageFreelist)[0]
	at := func(page uint64, offset int) int { return int(page)*registryPageSize + offset }
	newest := 0
	if binary.NativeEndian.Uint64(whole[registryPageSize+pageHeaderSize+metaTx:]) > binary.NativeEndian.Uint64(whole[pageHeaderSize+metaTx:]) {
		newest = 1
	}
	for name, change := range map[string]func(content []byte) []byte{
		"a zeroed leaf":            func(c []byte) []byte { clear(c[at(leaf, 0):at(leaf+1, 0)]); return c },
		"a zeroed branch":          func(c []byte) []byte { clear(c[at(branch, 0):at(branch+1, 0)]); return c },
		"a zeroed freelist":        func(c []byte) []byte { clear(c[at(list, 0):at(list+1, 0)]); return c },
		"another page's number":    func(c []byte) []byte { c[at(leaf, 0)]++; return c },
		"a wrong kind":             func(c []byte) []byte { c[at(leaf, 8)] = pageFreelist; return c },
		"two kinds":                func(c []byte) []byte { c[at(leaf, 8)] = pageLeaf | pageBranch; return c },
		"too many entries":         func(c []byte) []byte { c[at(leaf, 11)] = 0xff; return c },
		"an overflow":              func(c []byte) []byte { c[at(leaf, 15)] = 0xff; return c },
		"an entry far away":        func(c []byte) []byte { c[at(leaf, pageHeaderSize+7)] = 0xff; return c },
		"a free page in use":       func(c []byte) []byte { binary.NativeEndian.PutUint64(c[at(list, pageHeaderSize):], leaf); return c },
		"a free page of the metas": func(c []byte) []byte { binary.NativeEndian.PutUint64(c[at(list, pageHeaderSize):], 1); return c },
		"a page missing":           func(c []byte) []byte { c[at(list, 10)]--; return c },
		"a child twice": func(c []byte) []byte {
			copy(c[at(branch, pageHeaderSize+elementSize+8):], c[at(branch, pageHeaderSize+8):at(branch, pageHeaderSize+elementSize)])
			return c
		},
		"both metas": func(c []byte) []byte { c[at(0, 40)] ^= 1; c[at(1, 40)] ^= 1; return c },
		"a short file": func(c []byte) []byte {
			return c[:at(3, 0)]
		},
	} {
		if err := checkPages(change(bytes.Clone(whole))); !errors.Is(err, errRegistryStructure) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The newest meta alone is torn: the database is what it was before, which is whole.
	torn := bytes.Clone(whole)
	torn[at(uint64(newest), 40)] ^= 1
	_ = checkPages(torn) // its pages may have been used again since: only a panic is wrong
}

func FuzzRegistryPages(f *testing.F) {
	for _, entries := range []int{0, 20, 300} {
		f.Add(database(f, entries))
	}
	f.Fuzz(func(_ *testing.T, content []byte) { _ = checkPages(content) })
}

// TestCheckRegistryPagesFlips changes single bytes of pages that are in use: bbolt must never be handed what was not seen.
func TestCheckRegistryPagesFlips(t *testing.T) {
	whole := database(t, 300)
	r := rand.New(rand.NewPCG(1, 1))
	found := 0
	for range 400 {
		content := bytes.Clone(whole)
		content[r.IntN(len(content))] ^= byte(1 + r.IntN(255))
		if checkPages(content) != nil {
			found++
		}
	}
	// Most bytes are values, whose damage the records' decoding finds, and free pages.
	if found == 0 {
		t.Error("no flipped byte was found")
	}
	t.Logf("%d of 400 flipped bytes are in the structure", found)
}
