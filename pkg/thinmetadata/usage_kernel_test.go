//go:build kernel

package thinmetadata_test

import (
	"encoding/xml"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestRandomPools changes pools at random and compares what this package reads of them with thin_ls and thin_dump of
// thin-provisioning-tools: live, through a metadata snapshot, and when the pool is not active. A seed is replayed by
// RUN='TestRandomPools/seed=N'.
func TestRandomPools(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, err := devicemapper.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer dm.Close()
	for _, seed := range seeds() {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			p := newRandomPool(t, dm, seed)
			for _, changes := range []int{3, 30, 60} {
				for range changes {
					p.change()
				}
				p.compareLive()
			}
			p.deactivate()
			p.compare(0, poolDataBlocks)
		})
	}
}

func (p *randomPool) compareLive() {
	p.Helper()
	p.must(p.dm.ReserveMetadataSnapshot(p.ctx, p.pool))
	status, err := p.dm.ThinPoolStatus(p.ctx, p.pool)
	p.must(err)
	// What changes meanwhile must not be seen.
	for range 2 {
		p.touch(p.any())
	}
	usage := p.compare(uint64(status.HeldMetadataRoot), uint64(status.TotalData))
	if usage.DataBlocks != uint64(status.UsedData) {
		p.Errorf("%d data blocks are mapped, the kernel has allocated %d", usage.DataBlocks, status.UsedData)
	}
	p.must(p.dm.ReleaseMetadataSnapshot(p.ctx, p.pool))
}

// compare compares what is read from a superblock with thin_ls and thin_dump.
func (p *randomPool) compare(root, dataBlocks uint64) thinmetadata.Usage {
	p.Helper()
	device, err := thinmetadata.Open(p.metadata)
	p.must(err)
	defer device.Close()
	superblock, err := device.ReadSuperblock(root)
	p.must(err)
	began := time.Now()
	usage, err := device.Usage(p.ctx, superblock, dataBlocks)
	took := time.Since(began)
	p.must(err)
	options := []string{}
	if root != 0 {
		options = []string{"--metadata-snap"}
	}
	var own, alone strings.Builder
	var total, exclusive uint64
	for _, thin := range usage.Thins {
		fmt.Fprintln(&own, thin.ThinID, thin.Mapped, thin.Exclusive, thin.Mapped-thin.Exclusive)
		total, exclusive = total+thin.Mapped, exclusive+thin.Exclusive
	}
	list := p.tool("thin_ls", append(options, "--no-headers", "--format", "DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS,SHARED_BLOCKS", p.metadata)...)
	for line := range strings.Lines(list) {
		fmt.Fprintln(&alone, strings.Join(strings.Fields(line), " "))
	}
	if own.String() != alone.String() {
		p.Fatalf("thin id, mapped, exclusive and shared blocks are read as\n%s, thin_ls has\n%s", &own, &alone)
	}
	var dump struct {
		Devices []struct {
			ID     uint32 `xml:"dev_id,attr"`
			Ranges []struct {
				Virtual uint64 `xml:"origin_begin,attr"`
				Data    uint64 `xml:"data_begin,attr"`
				Blocks  uint64 `xml:"length,attr"`
				Time    uint32 `xml:"time,attr"`
			} `xml:"range_mapping"`
			Singles []struct {
				Virtual uint64 `xml:"origin_block,attr"`
				Data    uint64 `xml:"data_block,attr"`
				Time    uint32 `xml:"time,attr"`
			} `xml:"single_mapping"`
		} `xml:"device"`
	}
	p.must(xml.Unmarshal([]byte(p.tool("thin_dump", append(options, p.metadata)...)), &dump))
	if len(dump.Devices) != len(usage.Thins) {
		p.Fatalf("%d thin devices, thin_dump has %d", len(usage.Thins), len(dump.Devices))
	}
	for _, dumped := range dump.Devices {
		var want, got []thinmetadata.Mapping
		for _, r := range dumped.Ranges {
			want = append(want, thinmetadata.Mapping{Virtual: r.Virtual, Data: r.Data, Blocks: r.Blocks, Time: r.Time})
		}
		for _, s := range dumped.Singles {
			want = append(want, thinmetadata.Mapping{Virtual: s.Virtual, Data: s.Data, Blocks: 1, Time: s.Time})
		}
		slices.SortFunc(want, func(a, b thinmetadata.Mapping) int { return int(a.Virtual) - int(b.Virtual) })
		for m, err := range device.Mappings(p.ctx, superblock, dumped.ID) {
			p.must(err)
			got = append(got, m)
		}
		if !slices.Equal(got, want) {
			p.Fatalf("thin device %d is read as %v, thin_dump has %v", dumped.ID, got, want)
		}
	}
	p.Logf("%d thin devices of %d mappings, %d exclusive, %d data blocks: read in %s", len(usage.Thins), total, exclusive, usage.DataBlocks, took)
	return usage
}

func (p *randomPool) tool(name string, arguments ...string) string {
	p.Helper()
	command := exec.CommandContext(p.ctx, name, arguments...)
	var problems strings.Builder
	command.Stderr = &problems
	output, err := command.Output()
	if err != nil {
		p.Fatalf("%s: %v: %s", name, err, &problems)
	}
	return string(output)
}
