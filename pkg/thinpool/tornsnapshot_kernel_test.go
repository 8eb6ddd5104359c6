//go:build kernel

package thinpool_test

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// tearSnapshot leaves the metadata that begins at a place of a disk, of a pool that is not active, as a power cut can while the
// kernel makes a metadata snapshot: the superblock names it, the space map does not know it. Its own block, the last of the
// metadata, was written or was not.
func tearSnapshot(t testing.TB, disk string, at int64, written bool) {
	t.Helper()
	block := make([]byte, thinmetadata.BlockSize)
	file := get(os.Open(disk))(t)
	defer file.Close()
	if _, err := file.ReadAt(block, at); err != nil {
		t.Fatal(err)
	}
	held := binary.LittleEndian.Uint64(block[344:]) - 1
	if written {
		overwrite(t, disk, at+int64(held)*thinmetadata.BlockSize, block)
		changeSuperblockAt(t, disk, at+int64(held)*thinmetadata.BlockSize, func(copied []byte) {
			binary.LittleEndian.PutUint64(copied[8:], held)
			clear(copied[64:320]) // the space maps' roots
		})
	}
	changeSuperblockAt(t, disk, at, func(superblock []byte) { binary.LittleEndian.PutUint64(superblock[56:], held) })
}

// TestTornMetadataSnapshot: a metadata snapshot that a power cut kept from being committed is not released, which would give
// the blocks of the pool's own trees away, but forgotten.
func TestTornMetadataSnapshot(t *testing.T) {
	for name, written := range map[string]bool{"its block is lost": false, "its block is there": true} {
		t.Run(name, func(t *testing.T) {
			kerneltest.CheckClean(t)
			dm, ctx, disk := client(t), testContext(t), kerneltest.Disk(t, gib)
			config := configOn(disk)
			p := open(t, dm, config)
			create(t, p, ext4("v", 64*mib))
			mounted(t, activate(t, p, "v"), "ext4", func(directory string) { writeFile(t, directory+"/file", "content") })
			deactivate(t, p, "v")
			create(t, p, thinpool.VolumeSpec{Name: "snapshot", Source: "v"})
			if err := p.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
			tearSnapshot(t, disk, metadataAt, written)
			p = open(t, dm, config)
			if usage := get(p.Usage(ctx))(t); len(usage.Volumes) != 2 {
				t.Errorf("%+v", usage)
			}
			for _, volume := range []string{"v", "snapshot"} {
				mounted(t, activate(t, p, volume), "ext4", func(directory string) {
					if content := string(get(os.ReadFile(directory + "/file"))(t)); content != "content" {
						t.Errorf("%s: %q", volume, content)
					}
				})
				deactivate(t, p, volume)
			}
			create(t, p, ext4("later", 64*mib))
			checkIDs(t, dm, p)
			checkMetadata(t, dm, p)
		})
	}
}

// TestTornRelease: the references of a metadata snapshot whose name a power cut took, while it was released, are given back.
func TestTornRelease(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, disk := client(t), testContext(t), kerneltest.Disk(t, gib)
	config := configOn(disk)
	p := open(t, dm, config)
	create(t, p, ext4("v", 64*mib))
	pool := devicemapper.Name(get(p.Status(ctx))(t).DeviceName)
	if err := dm.ReserveMetadataSnapshot(ctx, pool); err != nil {
		t.Fatal(err)
	}
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	changeSuperblock(t, disk, func(superblock []byte) {
		if binary.LittleEndian.Uint64(superblock[56:]) == 0 {
			t.Error("no metadata snapshot is held")
		}
		clear(superblock[56:64])
	})
	p = open(t, dm, config)
	create(t, p, ext4("later", 64*mib))
	checkMetadata(t, dm, p)
}

// TestAdoptTornMetadataSnapshot: a pool that somebody else has activated with such a snapshot is left as it is.
func TestAdoptTornMetadataSnapshot(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	owned := newPlainPool(t, dm, gib, nil)
	config := owned.config()
	pool := get(thinpool.Open(ctx, dm, config))(t)
	create(t, pool, ext4("v", 64*mib))
	owned.finishOnPool(t, pool)

	owned.deactivate(t)
	tearSnapshot(t, owned.metadata, 0, true)
	owned.activate(t)
	refusesPool(t, dm, config, thinpool.ErrPoolDamaged, "never committed", "thin_repair")

	owned.deactivate(t)
	changeSuperblockAt(t, owned.metadata, 0, func(superblock []byte) { clear(superblock[56:64]) })
	owned.activate(t)
	pool = get(thinpool.Open(ctx, dm, config))(t)
	run(t, "e2fsck", "-fn", activate(t, pool, "v"))
	deactivate(t, pool, "v")
	owned.finishOnPool(t, pool)
}
