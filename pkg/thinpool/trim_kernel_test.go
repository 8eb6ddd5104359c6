//go:build kernel

package thinpool_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// trimming is a step that trims what is mounted at a directory, in two parts.
func trimming(t testing.TB, directory string, size int64) thinpool.TrimStep {
	t.Helper()
	start := int64(0)
	return func(context.Context, string) (bool, error) {
		root, err := os.Open(directory)
		if err != nil {
			return false, err
		}
		defer root.Close()
		err = filesystem.Trim(root, start, size/2)
		start += size / 2
		return start >= size, err
	}
}

// unused writes a file and deletes it again, and gives what the volume maps afterwards.
func unused(t testing.TB, p *thinpool.Pool, name, directory string, size int64) int64 {
	t.Helper()
	free := func() uint64 {
		var stat unix.Statfs_t
		if err := unix.Statfs(directory, &stat); err != nil {
			t.Fatal(err)
		}
		return stat.Bfree * uint64(stat.Bsize)
	}
	before := free()
	path := filepath.Join(directory, "file")
	writeRandom(t, path, size)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	// xfs gives a deleted file's blocks back in the background.
	for deadline := time.Now().Add(30 * time.Second); free()+uint64(mib) < before; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are free, %d were", free(), before)
		}
	}
	return get(p.Mapped(testContext(t)))(t)[name]
}

// TestTrim: what a file was deleted from comes back to the pool, and where discards are passed down the file below shrinks; the rest of
// the volume is what it was.
func TestTrim(t *testing.T) {
	for name, passdown := range map[string]bool{"passed down": true, "kept": false} {
		for _, spec := range []thinpool.VolumeSpec{ext4("v", 512*mib), xfs("v", 512*mib)} {
			t.Run(name+"/"+string(spec.Format.Type), func(t *testing.T) {
				kerneltest.CheckClean(t)
				ctx, config := testContext(t), sources()["loopback"](t)
				config.DiscardPassdown = passdown
				p := open(t, client(t), config)
				create(t, p, spec)
				_, err := p.Trim(ctx, "v", nil)
				refused(t, err, thinpool.ErrVolumeInactive)
				mounted(t, activate(t, p, "v"), spec.Format.Type, func(directory string) {
					writeFile(t, filepath.Join(directory, "kept"), "content")
					before := unused(t, p, "v", directory, 64*mib) //nolint:contextcheck // it works under the test's own context
					below := allocated(t, config.Source.Loopback.Path)
					freed := get(p.Trim(ctx, "v", trimming(t, directory, 512*mib)))(t)
					after := get(p.Mapped(ctx))(t)["v"]
					if freed < 60*mib || before-after != freed {
						t.Errorf("%d bytes came back, the volume mapped %d and maps %d", freed, before, after)
					}
					if shrunk := below - allocated(t, config.Source.Loopback.Path); (shrunk >= 60*mib) != passdown {
						t.Errorf("the file below the pool shrank by %d bytes", shrunk)
					}
					if again := get(p.Trim(ctx, "v", trimming(t, directory, 512*mib)))(t); again > mib {
						t.Errorf("%d bytes came back a second time", again)
					}
					expectFile(t, filepath.Join(directory, "kept"), "content")
				})
				deactivate(t, p, "v")
			})
		}
	}
}

// TestTrimOfSharedVolumes: where discards are passed down, a volume that shares blocks, or did, is not trimmed, as a power cut could take
// the other one's data; nor does a snapshot come between its steps. Where they are not, it is.
func TestTrimOfSharedVolumes(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx, config := testContext(t), sources()["loopback"](t)
	p := open(t, client(t), config)
	for _, name := range []string{"source", "alone", "meanwhile"} {
		create(t, p, ext4(name, 128*mib))
	}
	create(t, p, thinpool.VolumeSpec{Name: "snapshot", Source: "source"})
	none := func(context.Context, string) (bool, error) { return true, nil }
	for _, name := range []string{"source", "snapshot", "alone", "meanwhile"} {
		activate(t, p, name)
	}
	for _, name := range []string{"source", "snapshot"} {
		_, err := p.Trim(ctx, name, none)
		refused(t, err, thinpool.ErrTrimShared)
	}
	deactivate(t, p, "snapshot")
	if err := p.DeleteVolume(ctx, "snapshot"); err != nil {
		t.Fatal(err)
	}
	_, err := p.Trim(ctx, "source", none)
	refused(t, err, thinpool.ErrTrimShared, "snapshots were made of it")
	if _, err := p.Trim(ctx, "alone", none); err != nil {
		t.Error(err)
	}
	steps := 0
	_, err = p.Trim(ctx, "meanwhile", func(context.Context, string) (bool, error) {
		steps++
		if steps == 1 {
			// As a request for a snapshot does that comes between two steps.
			go func() { _, _ = p.CreateVolume(ctx, thinpool.VolumeSpec{Name: "late", Source: "meanwhile"}) }()
		}
		return steps == 10_000, nil
	})
	refused(t, err, thinpool.ErrTrimShared, "meanwhile")

	config.DiscardPassdown = false
	if err := p.Reconfigure(ctx, config); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Trim(ctx, "source", none); err != nil {
		t.Errorf("discards are not passed down: %v", err)
	}
	for _, name := range []string{"source", "alone", "meanwhile"} {
		deactivate(t, p, name)
	}
}

// TestTrimWaitsForDeletions: while the blocks of deleted volumes are given back nothing is trimmed, and a step's error ends the trim.
func TestTrimWaitsForDeletions(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx, config := testContext(t), configOn(kerneltest.Disk(t, 2*gib))
	p := open(t, client(t), config)
	create(t, p, ext4("v", 128*mib))
	create(t, p, raw("large", 512*mib))
	device := activate(t, p, "v")
	broken := errors.New("broken")
	_, err := p.Trim(ctx, "v", func(_ context.Context, path string) (bool, error) {
		if path != device {
			t.Errorf("the step got %s, the volume is %s", path, device)
		}
		return false, broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if err := fill(t, activate(t, p, "large"), 256*mib); err != nil {
		t.Fatal(err)
	}
	if err := p.DeleteVolume(ctx, "large"); err != nil {
		t.Fatal(err)
	}
	if status := get(p.Status(ctx))(t); status.PendingDeletions != 1 {
		t.Fatalf("%d deletions are pending: this test shows nothing", status.PendingDeletions)
	}
	_, err = p.Trim(ctx, "v", func(context.Context, string) (bool, error) { return true, nil })
	refused(t, err, thinpool.ErrTrimBusy, "deleted volumes")
	drained(t, p)
	if _, err := p.Trim(ctx, "v", func(context.Context, string) (bool, error) { return true, nil }); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	deactivate(t, p, "v")
}
