//go:build kernel

package thinpool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// groupOf are members of which each is called by a prefix and its source.
func groupOf(prefix string, sources ...string) []thinpool.GroupMember {
	members := make([]thinpool.GroupMember, len(sources))
	for i, source := range sources {
		members[i] = thinpool.GroupMember{Name: prefix + "-" + source, Source: source}
	}
	return members
}

// counter is a file of a fixed length with one number in it.
type counter struct{ file *os.File }

func newCounter(t testing.TB, directory string) counter {
	t.Helper()
	c := counter{get(os.OpenFile(filepath.Join(directory, "counter"), os.O_CREATE|os.O_RDWR, 0o600))(t)}
	if err := c.set(0); err != nil {
		t.Fatal(err)
	}
	return c
}

// set returns once the number is on the disk.
func (c counter) set(n int) error {
	if _, err := c.file.WriteAt(fmt.Appendf(nil, "%016d", n), 0); err != nil {
		return err
	}
	return c.file.Sync()
}

func counted(t testing.TB, directory string) int {
	t.Helper()
	content := get(os.ReadFile(filepath.Join(directory, "counter")))(t)
	return get(strconv.Atoi(string(content)))(t)
}

// TestGroupIsOneMoment proves that the snapshots of a group are of one moment: a writer puts each number into one volume after the
// other and waits for each to be on the disk, so that at any moment the volumes hold the same number, or those that come first
// one more.
func TestGroupIsOneMoment(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, config := client(t), testContext(t), configOn(kerneltest.Disk(t, 4*gib))
	config.OverprovisionMilli = 100_000
	p := open(t, dm, config)
	sources := []string{"first", "second", "third"}
	types := []filesystem.Type{filesystem.Ext4, filesystem.XFS, filesystem.Ext4}
	var counters []counter
	var unmounts []func()
	for i, name := range sources {
		create(t, p, thinpool.VolumeSpec{Name: name, Size: 320 * mib, Format: filesystem.Format{Type: types[i]}})
		directory, unmount := mount(t, activate(t, p, name), types[i])
		counters, unmounts = append(counters, newCounter(t, directory)), append(unmounts, unmount)
	}
	writing, stop := context.WithCancel(ctx)
	written := make(chan error, 1)
	last := 0
	go func() {
		for writing.Err() == nil {
			last++
			for _, c := range counters {
				if err := c.set(last); err != nil {
					written <- err
					return
				}
			}
		}
		written <- nil
	}()
	const rounds = 8
	for round := range rounds {
		members := groupOf("group-"+strconv.Itoa(round), sources...)
		group := get(p.SnapshotGroup(ctx, members))(t)
		if group.Held <= 0 || len(group.Volumes) != len(members) {
			t.Errorf("%+v", group)
		}
		t.Logf("the longest that I/O was held back: %v", group.Held)
		for i, v := range group.Volumes {
			if v.Name != members[i].Name || v.Source != sources[i] || v.Size != 320*mib || !v.Created.Equal(group.Volumes[0].Created) {
				t.Errorf("%+v is no snapshot of %s", v, sources[i])
			}
		}
		again := get(p.SnapshotGroup(ctx, members))(t)
		if again.Held != 0 || len(again.Volumes) != len(group.Volumes) || again.Volumes[1].ThinID != group.Volumes[1].ThinID {
			t.Errorf("asked for again the group is %+v, it was %+v", again, group)
		}
	}
	stop()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	for i, c := range counters {
		if err := c.file.Close(); err != nil {
			t.Error(err)
		}
		unmounts[i]()
		deactivate(t, p, sources[i])
	}
	before := -1
	for round := range rounds {
		found := make([]int, len(sources))
		for i, source := range sources {
			name := fmt.Sprintf("group-%d-%s", round, source)
			mounted(t, activate(t, p, name), types[i], func(directory string) { found[i] = counted(t, directory) })
			deactivate(t, p, name)
		}
		for i := 1; i < len(found); i++ {
			if found[i] > found[i-1] || found[i] < found[0]-1 {
				t.Errorf("group %d holds %v of the %d that were written: they are of different moments", round, found, last)
			}
		}
		if found[0] < before {
			t.Errorf("group %d holds %v, an earlier one %d", round, found, before)
		}
		before = found[0]
	}
	if before == 0 {
		t.Error("the writer wrote nothing while the groups were taken")
	}
	t.Logf("%d rounds were written, the last group holds %d", last, before)
}

// TestGroupIsWholeOrNot: what is no group, or has no room, leaves nothing; and a group of which a part was deleted is not completed
// by snapshots of another moment.
func TestGroupIsWholeOrNot(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx, config := client(t), testContext(t), configOn(kerneltest.Disk(t, gib))
	p := open(t, dm, config)
	create(t, p, ext4("a", 128*mib))
	create(t, p, raw("b", 128*mib))
	budget := get(p.Status(ctx))(t).SnapshotBudget
	for name, members := range map[string][]thinpool.GroupMember{
		"empty":            nil,
		"too many":         make([]thinpool.GroupMember, thinpool.MaximumGroup+1),
		"one name twice":   {{Name: "x", Source: "a"}, {Name: "x", Source: "b"}},
		"one source twice": {{Name: "x", Source: "a"}, {Name: "y", Source: "a"}},
		"of itself":        {{Name: "a", Source: "a"}},
		"of each other":    {{Name: "x", Source: "a"}, {Name: "y", Source: "x"}},
		"hostile":          {{Name: "../x", Source: "a"}},
	} {
		_, err := p.SnapshotGroup(ctx, members)
		t.Run(name, func(t *testing.T) { refused(t, err, thinpool.ErrInvalid) })
	}
	_, err := p.SnapshotGroup(ctx, groupOf("x", "a", "missing"))
	refused(t, err, thinpool.ErrSourceNotFound, "missing")
	create(t, p, raw("filler", 400*mib))
	_, err = p.SnapshotGroup(ctx, groupOf("x", "a", "b"))
	refused(t, err, thinpool.ErrNoSpace)
	if err := p.DeleteVolume(ctx, "filler"); err != nil {
		t.Fatal(err)
	}
	if left := get(p.Status(ctx))(t); len(p.Volumes()) != 2 || left.SnapshotBudget != budget {
		t.Errorf("after the refusals there are %v, and %d of %d snapshots are left", p.Volumes(), left.SnapshotBudget, budget)
	}
	group := groupOf("x", "a", "b")
	get(p.SnapshotGroup(ctx, group))(t)
	if err := p.DeleteVolume(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	p = open(t, dm, config)
	if taken := get(p.SnapshotGroup(ctx, group))(t); len(taken.Volumes) != 2 {
		t.Errorf("the group is %+v", taken)
	}
	if err := p.DeleteVolume(ctx, "x-b"); err != nil {
		t.Fatal(err)
	}
	_, err = p.SnapshotGroup(ctx, group)
	refused(t, err, thinpool.ErrVolumeExists, "1 are there")
	create(t, p, from("x-b", "b", 0))
	_, err = p.SnapshotGroup(ctx, group)
	refused(t, err, thinpool.ErrVolumeExists, "x-b")
	checkIDs(t, dm, p)
}

// TestKilledWhileTakingAGroup: the process dies anywhere between the intent and the result, with mounted volumes held back. After
// the next opening their I/O goes on, and all of the group is there or nothing.
func TestKilledWhileTakingAGroup(t *testing.T) {
	whole := map[string]bool{"group: all snapshots made": true, "group: all sources resumed": true, "group: result riding": true}
	for _, name := range thinpool.Failpoints() {
		if !strings.HasPrefix(name, "group:") {
			continue
		}
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			kerneltest.CheckClean(t)
			dm, ctx, config := client(t), testContext(t), configOn(kerneltest.Disk(t, gib))
			p := get(thinpool.Open(ctx, dm, config))(t)
			directories := map[string]string{}
			unmounts := map[string]func(){}
			for _, source := range []string{"a", "b", "c"} {
				create(t, p, ext4(source, 64*mib))
				if source != "c" { // one that is not in use
					directories[source], unmounts[source] = mount(t, activate(t, p, source), "ext4")
					writeFile(t, filepath.Join(directories[source], "file"), "content")
				}
			}
			closed(t, p)
			if result := runChild(t, childJob{Config: config, Script: "group", Failpoint: name}, outcome{}, 0); !result.killed {
				t.Fatalf("the child did not come to %q", name)
			}
			p = open(t, dm, config)
			for source, directory := range directories {
				if err := os.WriteFile(filepath.Join(directory, "file"), []byte("later"), 0o600); err != nil {
					t.Errorf("%s: %v", source, err)
				}
			}
			members := groupOf("snapshot", "a", "b", "c")
			for _, member := range members {
				if _, err := p.Volume(member.Name); (err == nil) != whole[name] {
					t.Errorf("%s: %v; want it to be there: %t", member.Name, err, whole[name])
				}
			}
			checkIDs(t, dm, p)
			closed(t, p)
			p = open(t, dm, config) // what was decided is durable
			get(p.SnapshotGroup(ctx, members))(t)
			for source, unmount := range unmounts {
				unmount()
				deactivate(t, p, source)
				want := map[bool]string{true: "content", false: "later"}[whole[name]]
				mounted(t, activate(t, p, "snapshot-"+source), "ext4", func(directory string) { expectFile(t, filepath.Join(directory, "file"), want) })
				deactivate(t, p, "snapshot-"+source)
			}
			checkIDs(t, dm, p)
		})
	}
}

// TestGroupOfFrozen: a source that somebody else keeps frozen cannot be held. The group is given up, the others are let go, and
// nothing is left.
func TestGroupOfFrozen(t *testing.T) {
	kerneltest.CheckClean(t)
	dm, ctx := client(t), testContext(t)
	p := open(t, dm, configOn(kerneltest.Disk(t, gib)))
	create(t, p, ext4("a", 64*mib))
	create(t, p, ext4("b", 64*mib))
	free, unmountFree := mount(t, activate(t, p, "a"), "ext4")
	frozen, unmountFrozen := mount(t, activate(t, p, "b"), "ext4")
	root := get(os.Open(frozen))(t)
	const fiFreeze, fiThaw = 0xc0045877, 0xc0045878 // FIFREEZE and FITHAW, include/uapi/linux/fs.h
	freeze := func(command uint) {
		t.Helper()
		if err := unix.IoctlSetInt(int(root.Fd()), command, 0); err != nil {
			t.Fatal(err)
		}
	}
	freeze(fiFreeze)
	if _, err := p.SnapshotGroup(ctx, groupOf("x", "a", "b")); err == nil {
		t.Error("a group with a source that cannot be held was taken")
	} else {
		t.Log(err)
	}
	writeFile(t, filepath.Join(free, "file"), "content") // it is not held back any more
	freeze(fiThaw)
	if err := root.Close(); err != nil {
		t.Error(err)
	}
	if len(p.Volumes()) != 2 {
		t.Errorf("left are %v", p.Volumes())
	}
	get(p.SnapshotGroup(ctx, groupOf("x", "a", "b")))(t)
	for name, unmount := range map[string]func(){"a": unmountFree, "b": unmountFrozen} {
		unmount()
		deactivate(t, p, name)
	}
	if err := errors.Join(p.DeleteVolume(ctx, "x-a"), p.DeleteVolume(ctx, "x-b")); err != nil {
		t.Error(err)
	}
	checkIDs(t, dm, p)
}
