package thinpool

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

const (
	testMiB = int64(1 << 20)
	testGiB = int64(1 << 30)
	testTiB = int64(1 << 40)
)

// planned is the label of a new pool.
func planned(t testing.TB, blockSize int64, separate bool, sizes ...int64) label {
	t.Helper()
	l := label{Version: labelVersion, Generation: 1, PoolID: newPoolID(), PoolName: "p", State: stateReady, BlockSectors: devicemapper.SectorsOf(blockSize)}
	var err error
	if separate {
		l.Areas, err = planSeparate(sizes[0], sizes[1], blockSize)
	} else {
		l.Areas, err = plan(sizes, blockSize)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range sizes {
		l.Devices = append(l.Devices, labelDevice{ID: randomID(), Sectors: devicemapper.SectorsOf(size)})
	}
	return l
}

func TestGrown(t *testing.T) {
	const block = 64 << 10
	for _, test := range []struct {
		name           string
		separate       bool
		before, after  []int64
		used           int64
		data, metadata int64 // by how much they grow at least, in bytes; data 0: nothing changes
		most           int64 // by how much metadata grows at most
	}{
		{"nothing", false, []int64{testGiB}, []int64{testGiB}, 0, 0, 0, 0},
		{"less than a block", false, []int64{testGiB}, []int64{testGiB + block - 512}, 0, 0, 0, 0},
		{"a block", false, []int64{testGiB}, []int64{testGiB + block}, 0, block, 0, 0},
		{"a MiB that calls for metadata", false, []int64{4*testGiB + testMiB}, []int64{4*testGiB + 2*testMiB}, 0, 0, 0, 0},
		{"a little more", false, []int64{4*testGiB + testMiB}, []int64{4*testGiB + 11*testMiB}, 0, testMiB, 4 * testMiB, 4 * testMiB},
		{"eight times", false, []int64{testGiB}, []int64{8 * testGiB}, 0, 7*testGiB - 20*testMiB, 4 * testMiB, 8 * testMiB},
		{"a device", false, []int64{testGiB}, []int64{testGiB, testTiB}, 0, testTiB - 3*testGiB, testGiB, testGiB + 8*testMiB},
		{"a device of 64 MiB", false, []int64{testGiB}, []int64{testGiB, 65 * testMiB}, 0, 64 * testMiB, 0, 0},
		{"both", false, []int64{testGiB, testGiB}, []int64{2 * testGiB, 3 * testGiB, testGiB}, 0, 4*testGiB - 16*testMiB, 4 * testMiB, 8 * testMiB},
		{"the largest metadata", false, []int64{testGiB}, []int64{testGiB, 64 * testTiB}, 0, 60 * testTiB, 15 * testGiB, 16 * testGiB},
		{"more where it is there", false, []int64{64 * testGiB, 64 * testTiB}, []int64{64 * testGiB, 128 * testTiB}, 0, 60 * testTiB, 0, 0},
		{"metadata that is used up", false, []int64{testGiB}, []int64{2 * testGiB}, 26 * testMiB, 900 * testMiB, 24 * testMiB, 28 * testMiB},
		{"used up, and little room", false, []int64{testGiB}, []int64{testGiB + 64*testMiB}, 26 * testMiB, 30 * testMiB, 16 * testMiB, 16 * testMiB},
		{"separate: data", true, []int64{testGiB, testGiB}, []int64{8 * testGiB, testGiB}, 0, 7 * testGiB, 0, 0},
		{"separate: metadata", true, []int64{testGiB, 128 * testMiB}, []int64{testGiB, 256 * testMiB}, 0, -1, 60 * testMiB, 64 * testMiB},
		{"separate: both", true, []int64{testGiB, 64 * testMiB}, []int64{testTiB, 4 * testGiB}, 0, testTiB - testGiB, testGiB, 2 * testGiB},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := planned(t, block, test.separate, test.before...)
			g, err := l.grown(test.after, test.used)
			if err != nil {
				t.Fatal(err)
			}
			checkGrown(t, l, g, test.after)
			data, metadata := g.size(areaData)-l.size(areaData), g.size(areaMetadata)-l.size(areaMetadata)
			if data < max(0, test.data) || test.data <= 0 && data != 0 || metadata < test.metadata || metadata > test.most {
				t.Errorf("data grew by %d, metadata by %d", data, metadata)
			}
		})
	}
}

func TestGrownRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		separate      bool
		before, after []int64
	}{
		"a device that is too small":             {false, []int64{testGiB}, []int64{testGiB, 64 * testMiB}},
		"data for which metadata is too small":   {true, []int64{testGiB, 64 * testMiB}, []int64{testTiB, 64 * testMiB}},
		"and metadata that does not grow enough": {true, []int64{testGiB, 64 * testMiB}, []int64{testTiB, 128 * testMiB}},
	} {
		l := planned(t, 64<<10, test.separate, test.before...)
		g, err := l.grown(test.after, 0)
		var field *FieldError
		if !errors.As(err, &field) || !slices.Equal(g.Areas, l.Areas) || !slices.Equal(g.Devices, l.Devices) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A label that has no room for another area stays as it was.
	l := planned(t, 64<<10, false, testGiB)
	sizes := []int64{testGiB}
	for range 2000 {
		sizes[0] += 4 * testGiB
		g, err := l.grown(sizes, 0)
		if err != nil {
			if !slices.Equal(g.Areas, l.Areas) {
				t.Error("it changed")
			}
			return
		}
		l = g
	}
	t.Errorf("a label took %d areas", len(l.Areas))
}

// checkGrown checks what must hold of every growth.
func checkGrown(t *testing.T, l, g label, sizes []int64) {
	t.Helper()
	if err := g.validate(); err != nil {
		t.Fatal(err)
	}
	numbers := make([]devicemapper.DeviceNumber, len(g.Devices))
	for i := range numbers {
		numbers[i] = devicemapper.DeviceNumber{Major: 7, Minor: uint32(i)}
	}
	for _, kind := range []areaKind{areaRegistry, areaMetadata, areaSpare, areaData} {
		if have, want := l.table(kind, numbers), g.table(kind, numbers); !extends(want, have) {
			t.Errorf("%s moved:\n%s\nbecame\n%s", kind, have, want)
		}
	}
	metadata, spare := g.size(areaMetadata), g.size(areaSpare)
	if rule := metadataSize(g.size(areaData), g.BlockSectors.Bytes()); metadata < rule || metadata != spare || metadata > maximumMetadata || metadata%4096 != 0 {
		t.Errorf("metadata %d, spare %d, rule %d", metadata, spare, rule)
	}
	for i, d := range l.Devices {
		if g.Devices[i].ID != d.ID {
			t.Errorf("device %d has another id", i)
		}
	}
	// What is taken in once is not new a second time.
	again, err := g.grown(sizes[:len(g.Devices)], 0)
	if err != nil || !slices.Equal(again.Areas, g.Areas) {
		t.Errorf("a second growth: %v, %d areas instead of %d", err, len(again.Areas), len(g.Areas))
	}
}

// TestGrownAtRandom grows pools of all kinds in random steps.
func TestGrownAtRandom(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		block := 64 << 10 * (1 + r.Int64N(32))
		sizes := []int64{testGiB + r.Int64N(testTiB/512)*512}
		separate := r.IntN(4) == 0
		if separate {
			sizes = append(sizes, 2*testGiB+512*r.Int64N(testMiB))
		}
		l := planned(t, block, separate, sizes...)
		for range 12 {
			for i := range sizes {
				switch r.IntN(3) {
				case 0:
					sizes[i] += 512 * r.Int64N(1+sizes[i]/512)
				case 1:
					sizes[i] += 512 * r.Int64N(64<<10)
				}
			}
			if !separate && r.IntN(3) == 0 && len(sizes) < maximumDevices {
				sizes = append(sizes, labelArea+max(minimumData, minimumDataBlocks*block)+512*r.Int64N(testGiB))
			}
			g, err := l.grown(sizes, r.Int64N(l.size(areaMetadata)))
			var field *FieldError
			if separate && errors.As(err, &field) {
				continue // the metadata's device has to grow first
			}
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			checkGrown(t, l, g, sizes)
			for i := range g.Devices {
				if lost := g.free(sizes)[i].length; i != 1 && lost > 2*(4*metadataRounding)+block {
					t.Errorf("seed %d: %d bytes of device %d are not taken in", seed, lost, i)
				}
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
			l = g
		}
	}
}
