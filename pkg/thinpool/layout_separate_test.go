package thinpool

import (
	"errors"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

func TestPlanSeparate(t *testing.T) {
	const mib, gib = int64(1) << 20, int64(1) << 30
	for _, test := range []struct {
		name                      string
		data, metadata, blockSize int64
		length                    int64  // of the metadata area
		field, allowed            string // of the refusal
	}{
		{"smallest", 129 * mib, 57 * mib, 64 << 10, 28 * mib, "", ""},
		{"data too small", 129*mib - 512, 57 * mib, 64 << 10, 0, "source.dataDevice", "at least 135266304 bytes"},
		{"metadata too small", 129 * mib, 57*mib - 512, 64 << 10, 0, "source.metadataDevice", "at least 59768832 bytes"},
		{"what the metadata device has", 100 * gib, 2 * gib, 64 << 10, 1020 * mib, "", ""},
		{"what is needed grows with the data", 1024 * gib, 2 * gib, 64 << 10, 0, "source.metadataDevice", "at least"},
		{"larger blocks need less", 1024 * gib, 2 * gib, 128 << 10, 1020 * mib, "", ""},
		{"what the kernel uses", 1024 * gib, 100 * gib, 64 << 10, maximumMetadata, "", ""},
		{"largest block", 32 * gib, gib, 1 << 30, 508 * mib, "", ""},
		{"empty", 0, 0, 64 << 10, 0, "source.dataDevice", "at least"},
		{"empty metadata", gib, 0, 64 << 10, 0, "source.metadataDevice", "at least"},
	} {
		t.Run(test.name, func(t *testing.T) {
			areas, err := planSeparate(test.data, test.metadata, test.blockSize)
			var field *FieldError
			if test.field != "" {
				if !errors.As(err, &field) || field.Field != test.field || !strings.Contains(field.Allowed, test.allowed) {
					t.Errorf("got %v, want %s: %s", err, test.field, test.allowed)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			l := label{Version: labelVersion, PoolID: newPoolID(), PoolName: "p", State: stateReady, BlockSectors: devicemapper.SectorsOf(test.blockSize), Areas: areas}
			for _, size := range []int64{test.data, test.metadata} {
				l.Devices = append(l.Devices, labelDevice{ID: randomID(), Sectors: devicemapper.SectorsOf(size)})
			}
			if err := l.validate(); err != nil {
				t.Fatalf("the plan is no valid label: %v", err)
			}
			if !l.separate() {
				t.Error("the label does not say that the metadata is on a device of its own")
			}
			for _, a := range areas {
				onMetadataDevice := a.Kind == areaMetadata || a.Kind == areaSpare
				if onMetadataDevice != (a.Device == 1) || a.Start.Bytes()%alignment != 0 {
					t.Errorf("%+v", a)
				}
				if onMetadataDevice && a.Length.Bytes() != test.length {
					t.Errorf("%s has %d bytes, want %d", a.Kind, a.Length.Bytes(), test.length)
				}
			}
		})
	}
}
