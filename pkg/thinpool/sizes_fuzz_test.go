package thinpool

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// blockSizeOf makes any number one of the allowed block sizes.
func blockSizeOf(n uint16) int64 {
	return (int64(n)%(1<<14) + 1) * devicemapper.MinPoolBlockSectors.Bytes()
}

// FuzzVolumeSpec: what is accepted as a volume is one that can be recorded and read back, of whole blocks; asking again for
// what came out changes nothing.
func FuzzVolumeSpec(f *testing.F) {
	f.Add("pvc-1", "", int64(1<<30), "ext4", "-m 1", uint16(0))
	f.Add("pvc-2", "pvc-1", int64(0), "", "", uint16(2))
	f.Add("a", "", int64(maximumVolumeSize), "", "", uint16(2))
	f.Add("a", "b", int64(maximumVolumeSize), "xfs", "", uint16(4))
	f.Fuzz(func(t *testing.T, name, source string, size int64, fsType, options string, block uint16) {
		blockSize := blockSizeOf(block)
		spec := VolumeSpec{Name: name, Source: source, Size: size, Format: filesystem.Format{Type: filesystem.Type(fsType), Options: strings.Fields(options)}}
		got, err := spec.normalized(blockSize)
		if err != nil {
			var field *FieldError
			if !errors.As(err, &field) || !errors.Is(err, ErrInvalid) || field.Field == "" || field.Allowed == "" {
				t.Errorf("%+v: %v", spec, err)
			}
			return
		}
		if got.Size < size || got.Size-size >= blockSize || got.Size%blockSize != 0 {
			t.Errorf("%d bytes became %d in blocks of %d", size, got.Size, blockSize)
		}
		if again, err := got.normalized(blockSize); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%+v became %+v, %v", got, again, err)
		}
		r := volumeRecord{Size: max(got.Size, blockSize), Format: recordOf(got.Format)}
		if source != "" {
			r.Format = formatRecord{} // the source's
		}
		if back, err := decodeRecord[volumeRecord](encodeRecord(r)); err != nil || !reflect.DeepEqual(back.Size, r.Size) || !back.Format.equal(r.Format) {
			t.Errorf("%+v was accepted, and its record cannot be read: %+v, %v", got, back, err)
		}
	})
}

// FuzzPlan: however large devices are, they are divided into areas that begin at whole MiB, lie inside and apart, and make
// a label that is accepted, or it is said which device is too small.
func FuzzPlan(f *testing.F) {
	f.Add(int64(1<<30), int64(256<<20), int64(0), uint16(0), false)
	f.Add(int64(1<<50), int64(1<<30), int64(1<<40), uint16(15), false)
	f.Add(int64(1<<40), int64(1<<30), int64(0), uint16(0), true)
	f.Fuzz(func(t *testing.T, first, second, third int64, block uint16, separate bool) {
		const largest = 1 << 56 // bytes
		blockSize := blockSizeOf(block)
		var sizes []int64
		for _, size := range []int64{first, second, third} {
			if size > 0 && size <= largest {
				sizes = append(sizes, size/512*512)
			}
		}
		if len(sizes) == 0 || separate && len(sizes) < 2 {
			return
		}
		l := label{Version: labelVersion, PoolID: newPoolID(), PoolName: "pool", State: stateReady, BlockSectors: devicemapper.SectorsOf(blockSize)}
		var err error
		if separate {
			sizes = sizes[:2]
			l.Areas, err = planSeparate(sizes[0], sizes[1], blockSize)
		} else {
			l.Areas, err = plan(sizes, blockSize)
		}
		if err != nil {
			var field *FieldError
			if !errors.As(err, &field) || !strings.HasPrefix(field.Field, "source.") {
				t.Errorf("%v: %v", sizes, err)
			}
			return
		}
		length := map[areaKind]devicemapper.Sectors{}
		for i, size := range sizes {
			l.Devices = append(l.Devices, labelDevice{ID: randomID(), Sectors: devicemapper.SectorsOf(size)})
			end := devicemapper.SectorsOf(labelArea)
			own := slices.DeleteFunc(slices.Clone(l.Areas), func(a area) bool { return a.Device != i })
			slices.SortFunc(own, func(a, b area) int { return int(a.Start) - int(b.Start) })
			for _, a := range own {
				if a.Start < end || a.Start.Bytes()%alignment != 0 || a.Length == 0 {
					t.Errorf("%v: %+v begins before %d", sizes, a, end)
				}
				end = a.Start + a.Length
				length[a.Kind] += a.Length
			}
			if end.Bytes() > size {
				t.Errorf("%v: the areas of device %d end at %d: %+v", sizes, i, end.Bytes(), l.Areas)
			}
		}
		data := length[areaData].Bytes()
		if length[areaMetadata] != length[areaSpare] || length[areaMetadata].Bytes() < metadataSize(data, blockSize) || data%blockSize != 0 || length[areaRegistry].Bytes() != registryArea {
			t.Errorf("%v in blocks of %d: %v", sizes, blockSize, length)
		}
		if err := l.validate(); err != nil {
			t.Errorf("%v: %v", sizes, err)
		}
	})
}
