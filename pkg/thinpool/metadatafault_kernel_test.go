//go:build kernel

package thinpool_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// markedBlock is a block of a volume that no other volume of the test maps: it marks the leaf of the volume's mappings.
const markedBlock = 0x2345

// leavesOf gives the places, in bytes of the disk, of the leaves that map the marked block alone: of the last commit, and of
// earlier ones. The layout is btree_node's of the kernel's drivers/md/persistent-data/dm-btree-internal.h.
func leavesOf(t testing.TB, disk string, metadata part) []int64 {
	t.Helper()
	file := get(os.Open(disk))(t)
	defer file.Close()
	var places []int64
	block := make([]byte, 4096)
	for at := metadata.start; at < metadata.start+metadata.length; at += 4096 {
		if _, err := file.ReadAt(block, at); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		leaf, entries, valueSize := binary.LittleEndian.Uint32(block[4:]) == 2, binary.LittleEndian.Uint32(block[16:]), binary.LittleEndian.Uint32(block[24:])
		if leaf && entries == 1 && valueSize == 8 && binary.LittleEndian.Uint64(block[32:]) == markedBlock {
			places = append(places, at)
		}
	}
	if len(places) == 0 {
		t.Fatal("there is no leaf of the marked volume")
	}
	return places
}

// dustAll makes blocks of 4 KiB of the disk unreadable, until they are written to.
func (d *faultyDisk) dustAll(places []int64) {
	d.t.Helper()
	first, last := places[0], places[len(places)-1]
	d.fail(part{first, last + 4096 - first}, func(device devicemapper.DeviceNumber, start devicemapper.Sectors) devicemapper.Target {
		return devicemapper.Dust{Device: device, OffsetSectors: start, BlockBytes: 4096}
	})
	var messages []string
	for _, at := range places {
		messages = append(messages, fmt.Sprintf("addbadblock %d", at/4096))
	}
	for _, message := range append(messages, "enable") {
		if _, err := d.dm.Message(testContext(d.t), d.device, devicemapper.SectorsOf(first), message); err != nil {
			d.t.Fatal(err)
		}
	}
}

// TestMetadataUnreadable: a block of the metadata that maps a volume's data cannot be read. The kernel fails what needs it and says
// nothing else; the pool says that it needs a check and on which disk, whichever way it came to know, and makes nothing more.
// Other volumes are read and written. A check finds the damage; when the block can be read again a check finds the metadata
// sound, and the pool goes on with all that it had.
func TestMetadataUnreadable(t *testing.T) {
	for name, meet := range map[string]func(t *testing.T, p *thinpool.Pool){
		"usage": func(t *testing.T, p *thinpool.Pool) {
			if usage, err := p.Usage(testContext(t)); err == nil {
				t.Errorf("the usage was read: %+v", usage)
			}
		},
		"figures of a volume": func(t *testing.T, p *thinpool.Pool) { _, _ = p.Mapped(testContext(t)) },
		"check": func(t *testing.T, p *thinpool.Pool) {
			if report, err := p.Check(testContext(t)); err != nil || report.MetadataDamage == "" {
				t.Errorf("%+v, %v", report, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			kerneltest.CheckClean(t)
			f := newSplitPool(t)
			ctx := testContext(t)
			create(t, f.pool, ext4("kept", 64*mib))
			mounted(t, activate(t, f.pool, "kept"), "ext4", func(directory string) { writeFile(t, directory+"/file", "content") })
			deactivate(t, f.pool, "kept")
			create(t, f.pool, raw("marked", 640*mib))
			content := pattern(64 << 10)
			overwrite(t, activate(t, f.pool, "marked"), markedBlock*64<<10, content)
			deactivate(t, f.pool, "marked")
			f.shutDown()
			places := leavesOf(t, f.disk.path(), f.metadata)
			f.disk.dustAll(places)
			f.pool = open(t, f.dm, f.config)

			device := activate(t, f.pool, "marked")
			file := get(os.OpenFile(device, os.O_RDONLY|unix.O_DIRECT, 0))(t)
			direct := get(unix.Mmap(-1, 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE))(t)
			if _, err := file.ReadAt(direct, markedBlock*64<<10); !errors.Is(err, unix.EIO) {
				t.Errorf("a block whose mapping cannot be read: %v", err)
			}
			if err := errors.Join(unix.Munmap(direct), file.Close()); err != nil {
				t.Error(err)
			}
			meet(t, f.pool)
			status := f.status()
			if !status.NeedsCheck || status.Admitting || !errors.Is(status.AdmissionError, thinpool.ErrPoolFailed) ||
				!strings.Contains(status.Fault, "it needs a check") || !strings.Contains(status.Fault, "the metadata is on "+f.disk.path()) {
				t.Errorf("%+v", status)
			}
			t.Logf("mode %s, fault: %s", status.Mode, status.Fault)
			for _, spec := range []thinpool.VolumeSpec{ext4("new", 64*mib), raw("new", mib), {Name: "new", Source: "kept"}} {
				_, err := f.pool.CreateVolume(ctx, spec)
				refused(t, err, thinpool.ErrPoolFailed, "it needs a check", f.disk.path())
			}
			mounted(t, activate(t, f.pool, "kept"), "ext4", func(directory string) {
				expectFile(t, directory+"/file", "content")
				writeFile(t, directory+"/more", "more")
			})
			deactivate(t, f.pool, "kept")
			f.neighbourWorks()
			if report, err := f.pool.Check(ctx); err != nil || report.MetadataDamage == "" {
				t.Errorf("a check: %+v, %v", report, err)
			}

			f.disk.heal()
			if report, err := f.pool.Check(ctx); err != nil || !report.Sound() {
				t.Errorf("a check of what can be read again: %+v, %v", report, err)
			}
			if status := f.status(); status.NeedsCheck || status.Fault != "" || !status.Admitting || status.Mode != thinpool.ModeReadWrite {
				t.Errorf("after a check: %+v", status)
			}
			if found := overwrite(t, device, markedBlock*64<<10, content); string(found) != string(content) {
				t.Error("the marked block is not what was written")
			}
			deactivate(t, f.pool, "marked")
			create(t, f.pool, ext4("new", 64*mib))
		})
	}
}
