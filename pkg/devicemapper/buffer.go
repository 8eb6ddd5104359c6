package devicemapper

import (
	"bytes"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Every ioctl takes one piece of memory: struct dm_ioctl, then a payload that
// begins headerSize bytes in. The same piece carries the answer back.
const (
	headerSize = int(unsafe.Sizeof(unix.DmIoctl{}))
	// maxBufferSize bounds what growth may reach. The kernel refuses more than
	// 1 GiB (DM_MAX_TARGETS × DM_MAX_TARGET_PARAMS in drivers/md/dm-ioctl.c);
	// 64 MiB hold the list of 100,000 devices twice over.
	maxBufferSize = 64 << 20
)

// buffer is that piece of memory. It consists of uint64 so that the header
// and every structure in the payload are aligned to 8 bytes, as in the kernel.
type buffer []uint64

func newBuffer(payload int) buffer {
	return make(buffer, (headerSize+payload+7)/8)
}

func (b buffer) header() *unix.DmIoctl {
	return (*unix.DmIoctl)(unsafe.Pointer(&b[0])) //nolint:gosec // a buffer is never shorter than a header, and aligned
}

func (b buffer) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&b[0])), len(b)*8) //nolint:gosec // the same memory, byte by byte
}

// answer returns what the kernel wrote behind the header. The kernel says
// where it starts and ends, and neither is trusted.
func (b buffer) answer() []byte {
	start, end := int(b.header().Data_start), int(b.header().Data_size)
	if start < headerSize || end > len(b)*8 || start > end {
		return nil
	}
	return b.bytes()[start:end]
}

// text returns the zero-terminated string that raw begins with, and whether
// the zero was there.
func text(raw []byte) (string, bool) {
	end := bytes.IndexByte(raw, 0)
	if end < 0 {
		return string(raw), false
	}
	return string(raw[:end]), true
}

// align rounds up to the 8 bytes the kernel aligns its structures to.
func align(n int) int { return (n + 7) &^ 7 }
