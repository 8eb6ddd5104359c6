//go:build kernel

package devicemapper

import (
	"context"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// What the package adds to the kernel's own time: each pair does the same,
// through the client and with ioctls whose memory was laid out before.

func overheadClient(b *testing.B) (context.Context, *Client) {
	b.Helper()
	kerneltest.CheckClean(b)
	c, err := Open()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return context.Background(), c
}

// raw lays the request out once and returns a function that makes it.
func raw(b *testing.B, c *Client, r request) func() {
	b.Helper()
	laidOut := newBuffer(max(r.room, len(r.payload)))
	if err := r.encode(laidOut); err != nil {
		b.Fatal(err)
	}
	memory := make(buffer, len(laidOut))
	descriptor := c.file.Fd()
	return func() {
		copy(memory, laidOut)
		if errno := rawIoctl(descriptor, r.command, memory); errno != 0 {
			b.Fatal(r.op, errno)
		}
	}
}

var overheadTable = Table{{Length: 8, Target: Zero{}}}

func BenchmarkOverheadInfo(b *testing.B) {
	ctx, c := overheadClient(b)
	device, err := c.Activate(ctx, "overhead", "", overheadTable)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Remove(ctx, device, RemoveOptions{}) })
	info := raw(b, c, request{op: "info", command: unix.DM_DEV_STATUS, ref: device})
	b.Run("client", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.Info(ctx, device); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("raw", func(b *testing.B) {
		for b.Loop() {
			info()
		}
	})
}

func BenchmarkOverheadActivateRemove(b *testing.B) {
	ctx, c := overheadClient(b)
	payload, err := overheadTable.encode()
	if err != nil {
		b.Fatal(err)
	}
	name := Name("overhead")
	create := raw(b, c, request{op: "create", command: unix.DM_DEV_CREATE, ref: name})
	load := raw(b, c, request{op: "load", command: unix.DM_TABLE_LOAD, ref: name, targets: 1, payload: payload})
	resume := raw(b, c, request{op: "resume", command: unix.DM_DEV_SUSPEND, ref: name, event: udevFlags})
	remove := raw(b, c, request{op: "remove", command: unix.DM_DEV_REMOVE, ref: name, event: udevFlags})
	b.Run("client", func(b *testing.B) {
		for b.Loop() {
			device, err := c.Activate(ctx, name, "", overheadTable)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := c.Remove(ctx, device, RemoveOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("raw", func(b *testing.B) {
		for b.Loop() {
			create()
			load()
			resume()
			remove()
		}
	})
}

func rawIoctl(descriptor uintptr, command uint, memory buffer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, descriptor, uintptr(command), uintptr(unsafe.Pointer(&memory[0])))
	return errno
}
