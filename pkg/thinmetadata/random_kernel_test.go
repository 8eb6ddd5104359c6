//go:build kernel

package thinmetadata_test

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

const (
	dataBlock      = 64 << 10
	thinBlocks     = 1 << 15 // of each thin device
	poolDataBlocks = 1 << 20
)

// seeds are those that a test of random pools runs with; one that -run names besides (seed=N) is added, so that any can be
// tried and every failure replayed.
func seeds() []uint64 {
	chosen := []uint64{1, 2, 3}
	if testing.Short() {
		chosen = chosen[:1]
	}
	if named := regexp.MustCompile(`seed=(\d+)`).FindStringSubmatch(flag.Lookup("test.run").Value.String()); named != nil {
		if seed, err := strconv.ParseUint(named[1], 10, 64); err == nil && !slices.Contains(chosen, seed) {
			chosen = append(chosen, seed)
		}
	}
	return chosen
}

// randomPool is a pool that is changed at random, by raw messages and I/O. Its data device forgets what is written, so only
// the metadata takes memory.
type randomPool struct {
	*testing.T
	ctx      context.Context
	dm       *devicemapper.Client
	metadata string
	data     devicemapper.Device
	pool     devicemapper.Device
	random   *rand.Rand
	thins    []devicemapper.ThinID
	next     devicemapper.ThinID
	buffer   []byte
	active   bool
}

func newRandomPool(t *testing.T, dm *devicemapper.Client, seed uint64) *randomPool {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	p := &randomPool{T: t, ctx: ctx, dm: dm, metadata: kerneltest.Disk(t, 64<<20), random: rand.New(rand.NewPCG(seed, 0))}
	p.buffer = alignedMemory(64 * dataBlock)
	var err error
	p.data, err = dm.Activate(ctx, "random-data", "", devicemapper.Table{{Length: devicemapper.SectorsOf(poolDataBlocks * dataBlock), Target: devicemapper.Zero{}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.remove(p.data) })
	t.Cleanup(p.deactivate)
	p.activate()
	return p
}

func (p *randomPool) activate() {
	p.Helper()
	var err error
	p.pool, err = p.dm.Activate(p.ctx, "random-pool", "", devicemapper.Table{{Length: devicemapper.SectorsOf(poolDataBlocks * dataBlock), Target: devicemapper.ThinPool{
		Metadata: number(p.T, p.metadata), Data: p.data.Number, BlockSectors: devicemapper.SectorsOf(dataBlock), NoDiscardPassdown: true,
	}}})
	p.must(err)
	p.active = true
}

// deactivate removes the pool's device, if it is there.
func (p *randomPool) deactivate() {
	p.Helper()
	if p.active {
		p.remove(p.pool)
		p.active = false
	}
}

func (p *randomPool) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *randomPool) remove(device devicemapper.Device) {
	p.Helper()
	if _, err := p.dm.Remove(context.WithoutCancel(p.ctx), device, devicemapper.RemoveOptions{}); err != nil {
		p.Error(err)
	}
}

// change does something to the pool.
func (p *randomPool) change() {
	p.Helper()
	switch dice := p.random.IntN(10); {
	case len(p.thins) == 0 || dice == 0:
		p.must(p.dm.CreateThin(p.ctx, p.pool, p.newID()))
	case dice <= 3:
		origin := p.any()
		p.must(p.dm.CreateSnapshot(p.ctx, p.pool, p.newID(), origin))
	case dice == 4 && len(p.thins) > 3:
		at := p.random.IntN(len(p.thins))
		p.must(p.dm.DeleteThin(p.ctx, p.pool, p.thins[at]))
		p.thins = slices.Delete(p.thins, at, at+1)
	default:
		p.touch(p.any())
	}
}

func (p *randomPool) newID() devicemapper.ThinID {
	p.next += 1 + devicemapper.ThinID(p.random.Uint32N(1000))
	p.thins = append(p.thins, p.next)
	return p.next
}

func (p *randomPool) any() devicemapper.ThinID { return p.thins[p.random.IntN(len(p.thins))] }

// touch writes to a thin device and discards from it: runs, and blocks here and there.
func (p *randomPool) touch(id devicemapper.ThinID) {
	p.Helper()
	device, err := p.dm.Activate(p.ctx, "random-thin", "", devicemapper.Table{{Length: devicemapper.SectorsOf(thinBlocks * dataBlock), Target: devicemapper.Thin{Pool: p.pool.Number, ID: id}}})
	p.must(err)
	defer p.remove(device)
	file, err := os.OpenFile(device.Path(), os.O_RDWR|unix.O_DIRECT, 0)
	p.must(err)
	for range 1 + p.random.IntN(4) {
		at, blocks := p.random.Int64N(thinBlocks), 1+p.random.Int64N(64)
		switch p.random.IntN(4) {
		case 0: // one run
			for range 1 + p.random.IntN(16) {
				blocks = min(blocks, thinBlocks-at)
				_, err = file.WriteAt(p.buffer[:blocks*dataBlock], at*dataBlock)
				p.must(err)
				at = (at + blocks) % thinBlocks
			}
		case 1, 2:
			for range 1 + blocks/2 {
				_, err = file.WriteAt(p.buffer[:4096], p.random.Int64N(thinBlocks)*dataBlock)
				p.must(err)
			}
		default:
			blocks = min(blocks*p.random.Int64N(100), thinBlocks-at)
			discard := [2]uint64{uint64(at * dataBlock), uint64(blocks * dataBlock)}
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), unix.BLKDISCARD, uintptr(unsafe.Pointer(&discard))); errno != 0 && blocks > 0 {
				p.Fatal("discard:", errno)
			}
		}
	}
	p.must(errors.Join(file.Sync(), file.Close()))
}

func alignedMemory(size int) []byte {
	raw := make([]byte, size+4096)
	return raw[-int(uintptr(unsafe.Pointer(&raw[0])))&4095:][:size]
}
