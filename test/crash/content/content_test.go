package content

import (
	"errors"
	"testing"
)

func TestVersions(t *testing.T) {
	old, young := Chunk(3, 7), Chunk(3, 1<<32+1)
	if len(old) != ChunkSize {
		t.Fatalf("%d bytes", len(old))
	}
	torn := append(append([]byte{}, young[:4096]...), old[4096:8192]...)
	versions, err := Versions(torn, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, version := range versions {
		want := uint64(0)
		switch at := i * SectorSize; {
		case at < 4096:
			want = 1<<32 + 1
		case at < 8192:
			want = 7
		}
		if version != want {
			t.Errorf("sector %d has version %d, want %d", i, version, want)
		}
	}
}

func TestForeignIsFound(t *testing.T) {
	good := Chunk(3, 7)
	for name, change := range map[string]func(){
		"one bit":         func() { good[SectorSize-1] ^= 1 },
		"another sector":  func() { copy(good, good[SectorSize:2*SectorSize]) },
		"nearly zeros":    func() { clear(good[:SectorSize]); good[100] = 1 },
		"another version": func() { good[8]++ },
	} {
		good = Chunk(3, 7)
		change()
		if _, err := Versions(good, 3); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Versions(Chunk(4, 7), 3); !errors.Is(err, ErrForeign) {
		t.Errorf("another chunk: %v", err)
	}
}
