//go:build kernel

package strictcut

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/crash/writelog"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestRecordHoldsWhatWasFlushed writes from many sides at once to a disk that is recorded, and flushes each write. What a flush
// has acknowledged must stand before the acknowledgement in the record, or strict cuts would blame the pool for what only the
// record has lost.
func TestRecordHoldsWhatWasFlushed(t *testing.T) {
	kerneltest.CheckClean(t)
	const writers, writes, page = 8, 60, 4096
	r := newRecording(t)
	r.run(t, func(ctx context.Context) {
		var all sync.WaitGroup
		for writer := range writers {
			all.Add(1)
			go func() {
				defer all.Done()
				if err := r.flushed(ctx, writer, writes, page); err != nil {
					t.Error(err)
				}
			}()
		}
		all.Wait()
	})
	log, closeLog := r.read(t)
	defer closeLog()
	durable, early := map[int64]bool{}, 0
	for _, entry := range log.Entries {
		switch at, err := strconv.ParseInt(entry.Name, 10, 64); {
		case !entry.Is(writelog.Mark):
			for offset := entry.Offset; offset < entry.Offset+entry.Length; offset += page {
				durable[offset] = true
			}
		case err == nil && !durable[at]:
			early++
		}
	}
	if t.Logf("%d entries", len(log.Entries)); early > 0 {
		t.Errorf("%d of %d flushes were acknowledged before the record had what they flushed", early, writers*writes)
	}
}

// flushed writes pages one after the other, has each flushed and marked by its offset. Odd writers go through the page
// cache and write a lot more, so that the disk has always much to do.
func (r *recording) flushed(ctx context.Context, writer, writes int, page int64) error {
	flags := os.O_RDWR
	if writer%2 == 0 {
		flags |= unix.O_DIRECT
	}
	file, err := os.OpenFile(r.device.Path(), flags, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	data, err := unix.Mmap(-1, 0, int(page), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // O_DIRECT wants it aligned
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(data) }()
	area := int64(writer) * int64(writes) * 64 * page
	for n := range int64(writes) {
		data[0]++
		at := area + n*64*page
		if _, err := file.WriteAt(data, at); err != nil {
			return err
		}
		for more := int64(1); writer%2 == 1 && more < 31; more++ {
			if _, err := file.WriteAt(data, at+more*2*page); err != nil {
				return err
			}
		}
		if err := unix.Fdatasync(int(file.Fd())); err != nil {
			return err
		}
		if _, err := r.dm.Message(ctx, r.device, 0, fmt.Sprintf("mark %d", at)); err != nil {
			return err
		}
	}
	return nil
}
