//go:build kernel

package thinpool_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

var allActions = []thinpool.RepairAction{thinpool.ActionFileSystem, thinpool.ActionNeedsCheck, thinpool.ActionMetadata}

func (j childJob) repair(ctx context.Context, dm *devicemapper.Client) error {
	_, err := thinpool.Repair(ctx, dm, j.Config, allActions)
	return err
}

// content is what a test volume's file holds: different in every block.
func content(name string) string {
	var text strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&text, "%s %d\n", name, i)
	}
	return text.String()
}

// filled makes a pool with volumes that hold files, of both file systems and without one, and shuts it down.
func filled(t *testing.T, dm *devicemapper.Client, config thinpool.Config) {
	t.Helper()
	filledWith(t, dm, config, ext4("a", 64*mib), ext4("b", 64*mib), xfs("x", 300*mib))
}

func filledWith(t *testing.T, dm *devicemapper.Client, config thinpool.Config, formatted ...thinpool.VolumeSpec) {
	t.Helper()
	p := get(thinpool.Open(testContext(t), dm, config))(t)
	for _, spec := range formatted {
		create(t, p, spec)
		mounted(t, activate(t, p, spec.Name), spec.Format.Type, func(directory string) { writeFile(t, directory+"/file", content(spec.Name)) })
		deactivate(t, p, spec.Name)
	}
	create(t, p, raw("r", 64*mib))
	overwrite(t, activate(t, p, "r"), 0, []byte(content("r")))
	deactivate(t, p, "r")
	create(t, p, raw("never-written", 64*mib))
	if err := p.Shutdown(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

// expectFilled opens a pool that filled has made and reads every byte.
func expectFilled(t *testing.T, dm *devicemapper.Client, config thinpool.Config) {
	t.Helper()
	expectVolumes(t, dm, config, "a", "b", "never-written", "r", "x")
}

func expectVolumes(t *testing.T, dm *devicemapper.Client, config thinpool.Config, want ...string) {
	t.Helper()
	ctx := testContext(t)
	p := get(thinpool.Open(ctx, dm, config))(t)
	var names []string
	for _, v := range p.Volumes() {
		names = append(names, v.Name)
		path := activate(t, p, v.Name)
		switch {
		case v.Name == "r":
			if got := overwritten(t, path, len(content("r"))); got != content("r") {
				t.Errorf("the bytes of %s are others", v.Name)
			}
		case v.Format.Type != "":
			mounted(t, path, v.Format.Type, func(directory string) {
				if got, err := os.ReadFile(directory + "/file"); err != nil || string(got) != content(v.Name) {
					t.Errorf("the file of %s is another: %d bytes, %v", v.Name, len(got), err)
				}
			})
		}
		deactivate(t, p, v.Name)
	}
	if !slices.Equal(names, want) {
		t.Errorf("the volumes are %v, want %v", names, want)
	}
	// It goes on as a pool does: a volume of a size that had a base, one without.
	create(t, p, ext4("later", 64*mib))
	mounted(t, activate(t, p, "later"), "ext4", func(directory string) { writeFile(t, directory+"/file", "later") })
	deactivate(t, p, "later")
	drained(t, p)
	checkIDs(t, dm, p)
	if report := get(p.Check(ctx))(t); !report.Sound() || !report.Active {
		t.Errorf("the open pool: %+v", report)
	}
	if err := p.DeleteVolume(ctx, "later"); err != nil {
		t.Error(err)
	}
	drained(t, p)
	if err := p.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func overwritten(t *testing.T, path string, length int) string {
	t.Helper()
	device := get(os.Open(path))(t)
	defer device.Close()
	got := make([]byte, length)
	if _, err := device.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func sound(t *testing.T, dm *devicemapper.Client, config thinpool.Config) {
	t.Helper()
	if report := get(thinpool.Check(testContext(t), dm, config))(t); !report.Sound() {
		t.Errorf("%+v", report)
	}
}

// TestCheck: a sound pool is found to be so while it is open and under load, when a dead process has left it active, and
// when it is not active; and nobody else examines it while it is open.
func TestCheck(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, config := client(t), testContext(t), configOn(kerneltest.Disk(t, gib), kerneltest.Disk(t, 256*mib))
	filled(t, dm, config)
	report := get(thinpool.Check(ctx, dm, config))(t)
	if !report.Sound() || report.Active || report.Volumes != 5 || report.Pool != "test" || len(report.Actions()) != 0 {
		t.Errorf("not active: %+v", report)
	}
	p := get(thinpool.Open(ctx, dm, config))(t)
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			name := fmt.Sprintf("load-%d", i)
			if _, err := p.CreateVolume(ctx, ext4(name, 64*mib)); err != nil {
				ended <- err
				return
			}
			if err := p.DeleteVolume(ctx, name); err != nil {
				ended <- err
				return
			}
		}
	}()
	for range 4 {
		if report := get(p.Check(ctx))(t); !report.Sound() || !report.Active || report.Mode != thinpool.ModeReadWrite || report.Volumes < 5 {
			t.Errorf("under load: %+v", report)
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	_, err := thinpool.Check(ctx, dm, config)
	refused(t, err, thinpool.ErrDeviceInUse, "another process")
	_, err = thinpool.Repair(ctx, dm, config, allActions)
	refused(t, err, thinpool.ErrDeviceInUse, "another process")

	directory, unmount := mount(t, activate(t, p, "a"), "ext4")
	closed(t, p)
	if report := get(thinpool.Check(ctx, dm, config))(t); !report.Sound() || !report.Active {
		t.Errorf("left active: %+v", report)
	}
	_, err = thinpool.Repair(ctx, dm, config, allActions)
	refused(t, err, thinpool.ErrVolumeInUse, ": a;")
	expectFile(t, directory+"/file", content("a"))
	unmount()
	p = get(thinpool.Open(ctx, dm, config))(t)
	deactivate(t, p, "a")
	drained(t, p)
	closed(t, p)
	if repaired := get(thinpool.Repair(ctx, dm, config, nil))(t); len(repaired.Done) != 0 || !repaired.After.Sound() {
		t.Errorf("a sound pool was repaired: %+v", repaired)
	}
	expectFilled(t, dm, config)
}

// TestCheckRefuses: what is no pool, or another one, is left alone.
func TestCheckRefuses(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, disk := client(t), testContext(t), kerneltest.Disk(t, gib)
	_, err := thinpool.Check(ctx, dm, configOn(disk))
	refused(t, err, thinpool.ErrPoolDamaged, "no pool")
	config := configOn()
	config.Source.Loopback = &thinpool.Loopback{Path: kerneltest.Scratch(t) + "/not-there", Size: gib}
	_, err = thinpool.Check(ctx, dm, config)
	refused(t, err, thinpool.ErrDeviceNotFound)
	if _, err := os.Lstat(config.Source.Loopback.Path); !os.IsNotExist(err) {
		t.Errorf("the file is there: %v", err)
	}
	config = configOn()
	config.Source.ThinPoolDevice = "/dev/mapper/vg-pool"
	_, err = thinpool.Repair(ctx, dm, config, allActions)
	refused(t, err, thinpool.ErrNotOwned, "lvconvert --repair")
	open(t, dm, configOn(disk))
	other := configOn(disk)
	other.Name = "other"
	_, err = thinpool.Check(ctx, dm, other)
	refused(t, err, thinpool.ErrForeignPool)
}

// metadataBlock gives where a block of the metadata stands on the first disk, in bytes.
func metadataBlock(number uint64) int64 { return metadataAt + int64(number)*thinmetadata.BlockSize }

func readMetadataBlock(t *testing.T, disk string, number uint64) []byte {
	t.Helper()
	block := make([]byte, thinmetadata.BlockSize)
	device := get(os.Open(disk))(t)
	defer device.Close()
	if _, err := device.ReadAt(block, metadataBlock(number)); err != nil {
		t.Fatal(err)
	}
	return block
}

// thinRoot finds the root of a thin device's tree in the tree of mappings of a small pool, which is one node.
func thinRoot(t *testing.T, disk string, thin uint64) uint64 {
	t.Helper()
	u64 := binary.LittleEndian.Uint64
	node := readMetadataBlock(t, disk, u64(readMetadataBlock(t, disk, 0)[320:]))
	entries, most := int(binary.LittleEndian.Uint32(node[16:])), int(binary.LittleEndian.Uint32(node[20:]))
	for i := range entries {
		if u64(node[32+8*i:]) == thin {
			return u64(node[32+8*most+8*i:])
		}
	}
	t.Fatalf("the pool has no thin device %d", thin)
	return 0
}

// unchanging is what a check leaves as it is: label, metadata and spare. The registry's file system is mounted.
func unchanging(t *testing.T, disk string) string {
	t.Helper()
	device := get(os.Open(disk))(t)
	defer device.Close()
	areas := make([]byte, mib+60*mib)
	for at, part := range map[int64][]byte{0: areas[:mib], metadataAt: areas[mib:]} {
		if _, err := device.ReadAt(part, at); err != nil {
			t.Fatal(err)
		}
	}
	return string(areas)
}

// TestRepairMetadata damages the metadata of a pool and repairs it, one of them twice: every volume is back with every byte.
// TestRepairSources has more volumes.
func TestRepairMetadata(t *testing.T) {
	u64 := binary.LittleEndian.Uint64
	zeros := make([]byte, thinmetadata.BlockSize)
	flip := func(t *testing.T, disk string, number uint64, at int64) {
		t.Helper()
		block := readMetadataBlock(t, disk, number)
		overwrite(t, disk, metadataBlock(number)+at, []byte{block[at] ^ 0x40})
	}
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, disk string)
		// whether superblock or roots are lost, and volumes with them: those of the last commit, of which a root stands nowhere else
		reconstructed bool
		lost          []string
	}{
		{"superblock zeroed", func(t *testing.T, disk string) { overwrite(t, disk, metadataBlock(0), zeros) }, true, nil},
		{"superblock flipped", func(t *testing.T, disk string) { flip(t, disk, 0, 325) }, true, nil},
		{"space maps' indices zeroed", func(t *testing.T, disk string) {
			superblock := readMetadataBlock(t, disk, 0)
			overwrite(t, disk, metadataBlock(u64(superblock[64+16:])), zeros)
			overwrite(t, disk, metadataBlock(u64(superblock[192+16:])), zeros)
		}, false, nil},
		{"root of the details flipped", func(t *testing.T, disk string) {
			flip(t, disk, u64(readMetadataBlock(t, disk, 0)[328:]), 200)
		}, true, []string{"never-written"}},
		{"root of the mappings zeroed", func(t *testing.T, disk string) {
			overwrite(t, disk, metadataBlock(u64(readMetadataBlock(t, disk, 0)[320:])), zeros)
		}, true, []string{"never-written"}},
	} {
		t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
			kerneltest.CheckClean(t)
			disk := kerneltest.Disk(t, gib)
			dm, ctx, config := client(t), testContext(t), configOn(disk, kerneltest.Disk(t, 256*mib))
			made := []string{"a", "never-written", "r"}
			filledWith(t, dm, config, ext4("a", 64*mib))
			test.damage(t, disk)
			before := unchanging(t, disk)
			found := get(thinpool.Check(ctx, dm, config))(t)
			if found.MetadataDamage == "" || found.RegistryDamage != "" || found.FileSystemDamage != "" || found.Volumes != len(made) {
				t.Fatalf("%+v", found)
			}
			if actions := found.Actions(); !slices.Equal(actions, []thinpool.RepairAction{thinpool.ActionMetadata}) {
				t.Errorf("%v", actions)
			}
			_, err := thinpool.Repair(ctx, dm, config, []thinpool.RepairAction{thinpool.ActionNeedsCheck})
			refused(t, err, thinpool.ErrNotApproved, string(thinpool.ActionMetadata))
			if unchanging(t, disk) != before {
				t.Error("what was not agreed to changed the disk")
			}
			report := get(thinpool.Repair(ctx, dm, config, found.Actions()))(t)
			t.Logf("%s: reconstructed %t", found.MetadataDamage, report.Reconstructed)
			var lost []string
			for _, v := range report.After.Lost {
				lost = append(lost, v.Name)
			}
			if report.After.MetadataDamage != "" || report.After.NeedsCheck || report.Reconstructed != test.reconstructed || len(report.Damaged) > 0 ||
				!slices.Equal(report.Done, found.Actions()) || !slices.Equal(lost, test.lost) || len(report.After.UnknownThinIDs) > 0 {
				t.Errorf("%+v, %v are lost", report, lost)
			}
			forget(t, dm, config, lost)
			sound(t, dm, config)
			want := slices.DeleteFunc(made, func(name string) bool { return slices.Contains(lost, name) })
			expectVolumes(t, dm, config, want...)
			if test.name != "superblock zeroed" {
				return
			}
			// What was damaged is the spare now, and is written over.
			changeSuperblockOf(t, disk, dm, config)
			if report := get(thinpool.Repair(ctx, dm, config, allActions))(t); !report.After.Sound() || len(report.Done) != 1 {
				t.Errorf("the second repair: %+v", report)
			}
			expectVolumes(t, dm, config, want...)
		})
	}
}

// forget deletes volumes that are lost.
func forget(t *testing.T, dm *devicemapper.Client, config thinpool.Config, names []string) {
	t.Helper()
	if len(names) == 0 {
		return
	}
	ctx := testContext(t)
	p := get(thinpool.Open(ctx, dm, config))(t)
	for _, name := range names {
		if err := p.DeleteVolume(ctx, name); err != nil {
			t.Error(err)
		}
	}
	drained(t, p)
	if err := p.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// changeSuperblockOf damages the superblock that is in force after a repair: in the area that was the spare.
func changeSuperblockOf(t *testing.T, disk string, dm *devicemapper.Client, config thinpool.Config) {
	t.Helper()
	at := spareAt(t, disk)
	overwrite(t, disk, at, make([]byte, thinmetadata.BlockSize))
	if report := get(thinpool.Check(testContext(t), dm, config))(t); report.MetadataDamage == "" {
		t.Fatalf("the area at %d is not the metadata: %+v", at, report)
	}
}

// spareAt finds the area behind the first metadata area: a thin superblock whose magic is there.
func spareAt(t *testing.T, disk string) int64 {
	t.Helper()
	device := get(os.Open(disk))(t)
	defer device.Close()
	for at := metadataAt + 4*mib; at < metadataAt+200*mib; at += mib {
		block := make([]byte, 64)
		if _, err := device.ReadAt(block, at); err != nil {
			t.Fatal(err)
		}
		if binary.LittleEndian.Uint64(block[32:]) == 27022010 {
			return at
		}
	}
	t.Fatal("there is no second superblock")
	return 0
}

// TestRepairLosesPart: a node that stands nowhere else is lost with what it maps, and the repair says of which volume; the
// others are whole. A base that lost something is no base any more.
func TestRepairLosesPart(t *testing.T) {
	kerneltest.CheckClean(t)
	disk := kerneltest.Disk(t, gib)
	dm, ctx, config := client(t), testContext(t), configOn(disk)
	filled(t, dm, config)
	p := get(thinpool.Open(ctx, dm, config))(t)
	lost := get(p.Volume("r"))(t)
	base, _ := p.BaseOf(ext4("", 64*mib))
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, thinmetadata.BlockSize)
	overwrite(t, disk, metadataBlock(thinRoot(t, disk, uint64(lost.ThinID))), zeros)
	overwrite(t, disk, metadataBlock(thinRoot(t, disk, uint64(base))), zeros)
	report := get(thinpool.Repair(ctx, dm, config, allActions))(t)
	t.Logf("%+v", report)
	if report.Reconstructed || len(report.Damaged)+len(report.After.Lost) == 0 {
		t.Errorf("%+v", report)
	}
	for _, d := range report.Damaged {
		if d.Name != "r" || d.MappedAfter >= d.MappedBefore || d.MappedBefore == 0 {
			t.Errorf("%+v", d)
		}
	}
	p = open(t, dm, config)
	drained(t, p)
	for _, name := range []string{"a", "b"} {
		mounted(t, activate(t, p, name), "ext4", func(directory string) { expectFile(t, directory+"/file", content(name)) })
		deactivate(t, p, name)
	}
	if again, ready := p.BaseOf(ext4("", 64*mib)); ready {
		t.Errorf("base %d is still there", again)
	}
	create(t, p, ext4("new", 64*mib))
	run(t, "e2fsck", "-fn", activate(t, p, "new"))
	deactivate(t, p, "new")
	if len(report.After.Lost) > 0 {
		if err := p.DeleteVolume(ctx, "r"); err != nil {
			t.Error(err)
		}
		drained(t, p)
	}
}

// TestRepairNeedsCheck: the disk below the metadata fails writes, the kernel takes the pool to read-only and wants a check.
// When the disk is well again the repair takes that back, and nothing that was acknowledged is lost.
func TestRepairNeedsCheck(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, disk := client(t), testContext(t), kerneltest.Disk(t, 128*mib)
	table := func(how string) string {
		path := kerneltest.Scratch(t) + "/ill-disk.table"
		if err := os.WriteFile(path, fmt.Appendf(nil, how, devicemapper.SectorsOf(128*mib), disk), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const well, broken = "0 %d linear %s 0\n", "0 %d flakey %s 0 0 3600 1 error_writes\n"
	run(t, "dmsetup", "create", "ill-disk", table(well))
	ill := get(dm.Info(ctx, devicemapper.Name("ill-disk")))(t)
	defer func() {
		if _, err := dm.Remove(ctx, ill, devicemapper.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	}()
	become := func(how string) {
		t.Helper()
		run(t, "dmsetup", "load", "ill-disk", table(how))
		run(t, "dmsetup", "suspend", "--nolockfs", "--noflush", "ill-disk")
		run(t, "dmsetup", "resume", "ill-disk")
	}
	config := configOnSeparate(kerneltest.Disk(t, gib), ill.Path())
	filled(t, dm, config)
	p := get(thinpool.Open(ctx, dm, config))(t)
	become(broken)
	_, err := p.CreateVolume(ctx, raw("while-ill", mib))
	refused(t, err, thinpool.ErrPoolFailed)
	status := get(p.Status(ctx))(t)
	t.Logf("mode %s, needs check %t", status.Mode, status.NeedsCheck)
	if status.Mode == thinpool.ModeReadWrite {
		t.Errorf("%+v", status)
	}
	become(well)
	if report := get(p.Check(ctx))(t); report.Mode == thinpool.ModeReadWrite || !report.Active || report.MetadataDamage != "" {
		t.Errorf("open and read-only: %+v", report)
	}
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	report := get(thinpool.Repair(ctx, dm, config, allActions))(t)
	t.Logf("%+v", report)
	if !report.After.Sound() || len(report.After.Lost) > 0 {
		t.Errorf("%+v", report)
	}
	p = get(thinpool.Open(ctx, dm, config))(t)
	if _, err := p.Volume("while-ill"); err == nil {
		if err := p.DeleteVolume(ctx, "while-ill"); err != nil {
			t.Error(err)
		}
	}
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	expectFilled(t, dm, config)

	// The demand alone, written as the kernel writes it.
	changeSuperblockAt(t, ill.Path(), mib, func(block []byte) { block[4] |= 1 })
	found := get(thinpool.Check(ctx, dm, config))(t)
	if !found.NeedsCheck || found.MetadataDamage != "" || !slices.Equal(found.Actions(), []thinpool.RepairAction{thinpool.ActionNeedsCheck}) {
		t.Errorf("%+v", found)
	}
	if report := get(thinpool.Repair(ctx, dm, config, found.Actions()))(t); !report.After.Sound() || len(report.Done) != 1 {
		t.Errorf("%+v", report)
	}
	expectFilled(t, dm, config)
}

// damageFileSystem zeroes the bitmap of blocks of the registry's file system, whose place its group's descriptor has.
func damageFileSystem(t *testing.T, disk string) {
	t.Helper()
	const registryAt = mib
	device := get(os.Open(disk))(t)
	defer device.Close()
	descriptor := make([]byte, 4096)
	if _, err := device.ReadAt(descriptor, registryAt+4096); err != nil {
		t.Fatal(err)
	}
	overwrite(t, disk, registryAt+4096*int64(binary.LittleEndian.Uint32(descriptor)), make([]byte, 4096))
}

// TestRepairRegistry: damage of the registry's file system is found and repaired by e2fsck; damage of the registry itself is
// found.
func TestRepairRegistry(t *testing.T) {
	kerneltest.CheckClean(t)
	const registryAt = mib
	disk := kerneltest.Disk(t, gib)
	dm, ctx, config := client(t), testContext(t), configOn(disk)
	filled(t, dm, config)
	damageFileSystem(t, disk)
	found := get(thinpool.Check(ctx, dm, config))(t)
	if found.FileSystemDamage == "" || found.MetadataDamage != "" {
		t.Fatalf("%+v", found)
	}
	report := get(thinpool.Repair(ctx, dm, config, found.Actions()))(t)
	if !report.After.Sound() || !slices.Equal(report.Done, []thinpool.RepairAction{thinpool.ActionFileSystem}) {
		t.Errorf("%+v", report)
	}
	expectFilled(t, dm, config)

	// The group's descriptor, of which there is no copy: e2fsck loses the journal and all files, and is undone.
	descriptor := overwrite(t, disk, registryAt+4096, make([]byte, 4096))
	found = get(thinpool.Check(ctx, dm, config))(t)
	if found.FileSystemDamage == "" || found.RegistryDamage == "" {
		t.Errorf("%+v", found)
	}
	_, err := thinpool.Repair(ctx, dm, config, found.Actions())
	refused(t, err, thinpool.ErrPoolDamaged, "put back as it was")
	overwrite(t, disk, registryAt+4096, descriptor)
	expectFilled(t, dm, config)

	// The database's first two pages.
	device := get(os.Open(disk))(t)
	defer device.Close()
	block := make([]byte, 4096)
	hits := 0
	for at := registryAt; at < registryAt+64*mib; at += 4096 {
		if _, err := device.ReadAt(block, at); err != nil {
			t.Fatal(err)
		}
		if binary.NativeEndian.Uint32(block[16:]) == 0xED0CDAED {
			overwrite(t, disk, at+40, []byte{0xff})
			hits++
		}
	}
	found = get(thinpool.Check(ctx, dm, config))(t)
	if hits < 2 || found.RegistryDamage == "" || found.Volumes != 0 || found.Sound() {
		t.Errorf("%d pages were damaged: %+v", hits, found)
	}
	t.Log(found.RegistryDamage)
}

// TestKilledWhileRepairing kills the repair between any two of its steps. The pool that remains is repaired by the next one,
// or is repaired already.
func TestKilledWhileRepairing(t *testing.T) {
	for _, name := range thinpool.Failpoints() {
		if !strings.HasPrefix(name, "repair:") {
			continue
		}
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			kerneltest.CheckClean(t)
			disk := kerneltest.Disk(t, gib)
			dm, ctx, config := client(t), testContext(t), configOn(disk, kerneltest.Disk(t, 256*mib))
			filledWith(t, dm, config, ext4("a", 64*mib))
			switch {
			case strings.Contains(name, "needs_check"):
				changeSuperblock(t, disk, func(block []byte) { block[4] |= 1 })
			case strings.Contains(name, "file system"):
				damageFileSystem(t, disk)
			default:
				superblock := readMetadataBlock(t, disk, 0)
				overwrite(t, disk, metadataBlock(binary.LittleEndian.Uint64(superblock[64+16:])), make([]byte, 4096))
			}
			if result := runChild(t, childJob{Config: config, Script: "repair", Failpoint: name}, outcome{}, 0); !result.killed {
				t.Fatalf("the child did not come to %q", name)
			}
			report := get(thinpool.Repair(ctx, dm, config, allActions))(t)
			if !report.After.Sound() {
				t.Errorf("%+v", report)
			}
			expectVolumes(t, dm, config, "a", "never-written", "r")
		})
	}
}

// TestRepairSources: pools on a file and on separate devices are repaired as those on devices are.
func TestRepairSources(t *testing.T) {
	for name, make := range map[string]func(t *testing.T) (config thinpool.Config, metadataOn string, at int64){
		"loopback": func(t *testing.T) (thinpool.Config, string, int64) {
			config, path := configOn(), kerneltest.Scratch(t)+"/repaired-pool"
			config.Source.Loopback = &thinpool.Loopback{Path: path, Size: gib}
			t.Cleanup(func() { os.Remove(path) })
			return config, path, metadataAt
		},
		"separate": func(t *testing.T) (thinpool.Config, string, int64) {
			metadata := kerneltest.Disk(t, 128*mib)
			return configOnSeparate(kerneltest.Disk(t, gib), metadata), metadata, mib
		},
	} {
		t.Run(name, func(t *testing.T) {
			kerneltest.CheckClean(t)
			dm, ctx := client(t), testContext(t)
			config, path, at := make(t)
			filled(t, dm, config)
			sound(t, dm, config)
			overwrite(t, path, at, []byte("this was a superblock"))
			found := get(thinpool.Check(ctx, dm, config))(t)
			report := get(thinpool.Repair(ctx, dm, config, found.Actions()))(t)
			if found.MetadataDamage == "" || !report.After.Sound() || !report.Reconstructed {
				t.Errorf("%+v", report)
			}
			expectFilled(t, dm, config)
		})
	}
}
