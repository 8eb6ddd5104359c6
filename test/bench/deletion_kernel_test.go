//go:build kernel

package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

const (
	poolBlock = 64 << 10
	// stallBound is the longest that a neighbour's write may take during a deletion, in milliseconds.
	stallBound = 50
	// neighbourMapped bytes of the neighbour are written beforehand; new blocks come from neighbourNew on.
	neighbourMapped = 16 << 20
	neighbourNew    = 1 << 30
	neighbourSize   = 64 << 30
)

// deletion measures how long a neighbour's writes take while a large volume is deleted.
func (r *run) deletion(t *testing.T) {
	r.scratch, r.images = t.TempDir(), map[bool]string{}
	table := newTable("mappings", "lie", "discards passed down", "deleted by", "acknowledged after ms", "given back after s", "longest write on mapped blocks, ms", "p99", "without the deletion", "on new blocks, ms", "p99", "without the deletion", "writes", "without")
	for _, c := range []struct {
		scattered, passdown bool
		byMessage           bool // the kernel's delete message, behind the engine's back
	}{
		{scattered: false, passdown: false}, {scattered: false, passdown: true},
		{scattered: true, passdown: false}, {scattered: true, passdown: true},
		{byMessage: true},
	} {
		t.Run(fmt.Sprintf("scattered=%t,passdown=%t,message=%t", c.scattered, c.passdown, c.byMessage), func(t *testing.T) {
			d := r.openDeletion(t, c.scattered, c.passdown)
			mapped := neighbour{Path: d.neighbour, Size: 4096, Stride: poolBlock, Around: neighbourMapped / poolBlock, Every: 2 * time.Millisecond}.start(t)
			// A new block takes 64 KiB of the guest's memory: not too many.
			fresh := neighbour{Path: d.neighbour, Size: 4096, Base: neighbourNew, Stride: poolBlock, Every: 20 * time.Millisecond}.start(t)
			time.Sleep(2 * time.Second)
			mapped.take(t)
			fresh.take(t)
			time.Sleep(r.plan.undisturbed)
			beforeMapped, beforeFresh := mapped.take(t), fresh.take(t)
			began := time.Now()
			by := "csi-dm"
			if c.byMessage {
				by = "the kernel's message alone"
				must(t, r.dm.DeleteThin(r.ctx, devicemapper.Name(d.poolDevice), devicemapper.ThinID(d.large)))
			}
			must(t, d.pool.DeleteVolume(r.ctx, "large"))
			acknowledged := time.Since(began)
			for {
				status, err := d.pool.Status(r.ctx)
				must(t, err)
				if status.PendingDeletions == 0 {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			gone := time.Since(began)
			time.Sleep(100 * time.Millisecond) // a write that was held ends
			onMapped, onFresh := mapped.take(t), fresh.take(t)
			mapped.stop(t)
			fresh.stop(t)
			lie, passed := map[bool]string{false: "one after the other", true: "scattered"}[c.scattered], map[bool]string{false: "no", true: "yes"}[c.passdown]
			table.row(fmt.Sprint(r.plan.mappings), lie, passed, by, milliseconds(acknowledged), number(gone.Seconds()),
				milliseconds(onMapped.quantile(1)), milliseconds(onMapped.quantile(0.99)), milliseconds(beforeMapped.quantile(1)),
				milliseconds(onFresh.quantile(1)), milliseconds(onFresh.quantile(0.99)), milliseconds(beforeFresh.quantile(1)),
				fmt.Sprint(len(onMapped)+len(onFresh)), fmt.Sprint(len(beforeMapped)+len(beforeFresh)))
			if c.byMessage {
				return
			}
			for which, writes := range map[string]sample{"mapped": onMapped, "new": onFresh} {
				r.verdicts.atMost(fmt.Sprintf("deletion of %d mappings, %s, discards passed down: %s; longest write of 4 KiB on %s blocks", r.plan.mappings, lie, passed, which),
					float64(writes.quantile(1).Microseconds())/1000, stallBound, " ms")
			}
		})
	}
	r.print("A neighbour's writes of 4 KiB (O_DIRECT) while a volume of %d GiB is deleted:\n\n%s", r.plan.mappings*poolBlock>>30, table)
}

// restore has thin_restore write metadata with these thin devices.
func (r *run) restore(t *testing.T, device string, kernel devicemapper.ThinPoolStatus, thins []mappedThin) {
	t.Helper()
	// It takes regular files only.
	xml, err := os.CreateTemp(kerneltest.Scratch(t), "thins-")
	must(t, err)
	defer func() { must(t, errors.Join(xml.Close(), os.Remove(xml.Name()))) }()
	must(t, writeThinXML(xml, kernel.TransactionID, poolBlock/devicemapper.SectorSize, int64(kernel.TotalData), thins))
	if output, err := exec.Command("thin_restore", "-i", xml.Name(), "-o", device).CombinedOutput(); err != nil {
		t.Fatalf("thin_restore: %v: %s", err, output)
	}
}

// copySparse copies a file or device, all but what is zero.
func copySparse(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Sync(), out.Close()) }()
	piece, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); ; {
		n, err := io.ReadFull(in, piece)
		if n > 0 && !bytes.Equal(piece[:n], zeros[:n]) {
			if _, err := out.WriteAt(piece[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil
			}
			return err
		}
	}
}

// deletionPool is a pool with a volume "large" and an active neighbour.
type deletionPool struct {
	pool       *thinpool.Pool
	poolDevice string
	large      uint32 // its thin id
	neighbour  string // path of its device
}

// openDeletion makes the pool on a loop device and has thin_restore write the large volume's mappings.
func (r *run) openDeletion(t *testing.T, scattered, passdown bool) *deletionPool {
	t.Helper()
	size := r.plan.mappings * poolBlock
	config := thinpool.Config{
		Name: "deletion", BlockSize: poolBlock, OverprovisionMilli: 100_000, DiscardPassdown: passdown,
		Source: thinpool.Source{Devices: []string{kerneltest.Disk(t, size+2*neighbourSize)}},
	}
	pool, err := thinpool.Open(r.ctx, r.dm, config)
	must(t, err)
	large, err := pool.CreateVolume(r.ctx, thinpool.VolumeSpec{Name: "large", Size: size})
	must(t, err)
	neighbour, err := pool.CreateVolume(r.ctx, thinpool.VolumeSpec{Name: "neighbour", Size: neighbourSize})
	must(t, err)
	status, err := pool.Status(r.ctx)
	must(t, err)
	kernel, err := r.dm.ThinPoolStatus(r.ctx, devicemapper.Name(status.DeviceName))
	must(t, err)
	metadata, err := r.dm.Table(r.ctx, devicemapper.Name(strings.TrimSuffix(status.DeviceName, "pool")+"metadata"), devicemapper.TableOptions{})
	must(t, err)
	must(t, pool.Shutdown(r.ctx))
	device, err := r.dm.Activate(r.ctx, "bench-restore", "", metadata)
	must(t, err)
	began := time.Now()
	// The pools of all cases have the same thin ids and sizes, so the metadata that was made for one serves for others.
	if image := r.images[scattered]; image != "" {
		must(t, copySparse(image, device.Path()))
	} else {
		r.restore(t, device.Path(), kernel, []mappedThin{{id: large.ThinID, mappings: r.plan.mappings, scattered: scattered}, {id: neighbour.ThinID}})
		image = filepath.Join(r.scratch, fmt.Sprintf("metadata-%t", scattered))
		must(t, copySparse(device.Path(), image))
		r.images[scattered] = image
	}
	r.floor.remove(r.ctx, t, device)
	fmt.Printf("making the metadata took %.1f s\n", time.Since(began).Seconds())

	d := &deletionPool{large: large.ThinID, poolDevice: status.DeviceName}
	d.pool, err = thinpool.Open(r.ctx, r.dm, config)
	must(t, err)
	t.Cleanup(func() { (&engine{pool: d.pool}).shutdown(r.ctx, t) })
	if status, err := d.pool.Status(r.ctx); err != nil || status.Data.Used != size || status.DiscardPassdown != passdown || status.LostVolumes+status.UnknownThinDevices > 0 {
		t.Fatalf("restored: %+v, %v", status, err)
	}
	d.neighbour, err = d.pool.Activate(r.ctx, "neighbour")
	must(t, err)
	fillDevice(t, d.neighbour, neighbourMapped)
	return d
}
