//go:build kernel

package thinmetadata_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// BenchmarkUsage reads four million mappings, the metadata of 256 GiB in blocks of 64 KiB: those of one thin device, and of
// two that map the same data through nodes of their own.
func BenchmarkUsage(b *testing.B) {
	const mappings = 4 << 20
	for _, devices := range []int{1, 2} {
		b.Run(fmt.Sprintf("devices=%d", devices), func(b *testing.B) {
			device, err := thinmetadata.Open(restored(b, devices, mappings/devices))
			if err != nil {
				b.Fatal(err)
			}
			defer device.Close()
			superblock, err := device.ReadSuperblock(0)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				usage, err := device.Usage(b.Context(), superblock, superblock.DataBlocks)
				if err != nil || len(usage.Thins) != devices || usage.DataBlocks != superblock.UsedDataBlocks {
					b.Fatal(usage, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/mappings, "ns/mapping")
		})
	}
}

// restored gives a metadata device on which thin_restore has put thin devices that map the same data.
func restored(tb testing.TB, devices, blocks int) string {
	tb.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, `<superblock uuid="" time="1" transaction="0" flags="0" version="2" data_block_size="128" nr_data_blocks="%d">`, blocks)
	for id := range devices {
		fmt.Fprintf(&text, `<device dev_id="%d" mapped_blocks="%d" transaction="0" creation_time="0" snap_time="0">`, id, blocks)
		fmt.Fprintf(&text, `<range_mapping origin_begin="0" data_begin="0" length="%d" time="0"/></device>`, blocks)
	}
	text.WriteString("</superblock>")
	input := filepath.Join(tb.TempDir(), "metadata.xml")
	if err := os.WriteFile(input, []byte(text.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	disk := kerneltest.Disk(tb, 256<<20)
	if output, err := exec.Command("thin_restore", "--input", input, "--output", disk).CombinedOutput(); err != nil {
		tb.Fatalf("thin_restore: %v: %s", err, output)
	}
	return disk
}
