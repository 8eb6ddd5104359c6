//go:build kernel

package bench

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// byteRange is a part of a device: from begin on, and before end.
type byteRange struct{ begin, end int64 }

// xfsLog reads from the superblock of an xfs where its log lies. The fields are those of struct xfs_dsb in the kernel's
// fs/xfs/libxfs/xfs_format.h: sb_blocksize, sb_logstart, sb_agblocks, sb_logblocks, sb_agblklog.
func xfsLog(t *testing.T, device string) byteRange {
	t.Helper()
	file, err := os.Open(device)
	must(t, err)
	defer file.Close()
	raw := make([]byte, 512)
	_, err = file.ReadAt(raw, 0)
	must(t, err)
	if string(raw[:4]) != "XFSB" {
		t.Fatalf("%s holds no xfs", device)
	}
	u32 := func(at int) int64 { return int64(binary.BigEndian.Uint32(raw[at:])) }
	block, start, groupBlocks, blocks := u32(4), binary.BigEndian.Uint64(raw[48:]), u32(84), u32(96)
	groupBits := raw[124]
	// A file system block is numbered by its group, shifted, and its place in that.
	begin := (int64(start>>groupBits)*groupBlocks + int64(start&(1<<groupBits-1))) * block
	return byteRange{begin, begin + blocks*block}
}

// writtenIn counts the bytes of a volume, in whole blocks of its pool, that lie in a range and are not its base's any more.
func (o *overhead) writtenIn(t *testing.T, name string, within byteRange) int64 {
	t.Helper()
	ctx, dm := o.r.ctx, o.r.dm
	status, err := o.pool.Status(ctx)
	must(t, err)
	prefix := strings.TrimSuffix(status.DeviceName, "pool")
	pool, err := dm.Info(ctx, devicemapper.Name(prefix+"pool"))
	must(t, err)
	metadata, err := dm.Info(ctx, devicemapper.Name(prefix+"metadata"))
	must(t, err)
	volume, err := o.pool.Volume(name)
	must(t, err)

	must(t, dm.ReserveMetadataSnapshot(ctx, pool.Device))
	defer func() { must(t, dm.ReleaseMetadataSnapshot(ctx, pool.Device)) }()
	held, err := dm.ThinPoolStatus(ctx, pool.Device)
	must(t, err)
	device, err := thinmetadata.Open(metadata.Path())
	must(t, err)
	defer func() { must(t, device.Close()) }()
	superblock, err := device.ReadSuperblock(uint64(held.HeldMetadataRoot))
	must(t, err)
	mapped := func(thin uint32) map[int64]uint64 {
		blocks := map[int64]uint64{}
		for m, err := range device.Mappings(ctx, superblock, thin) {
			must(t, err)
			for i := range m.Blocks {
				blocks[int64(m.Virtual+i)] = m.Data + i
			}
		}
		return blocks
	}
	base := mapped(o.baseOf(t, volume))
	bytes := int64(0)
	for virtual, data := range mapped(volume.ThinID) {
		at := virtual * poolBlock
		if shared, ok := base[virtual]; (!ok || shared != data) && at+poolBlock > within.begin && at < within.end {
			bytes += poolBlock
		}
	}
	return bytes
}

// baseOf gives the thin id of the base whose size and file system a volume has.
func (o *overhead) baseOf(t *testing.T, volume thinpool.Volume) uint32 {
	t.Helper()
	for _, base := range o.pool.Bases() {
		if base.Size == volume.Size && base.Format.Type == volume.Format.Type {
			return base.ThinID
		}
	}
	t.Fatalf("no base of %+v", volume)
	return 0
}
