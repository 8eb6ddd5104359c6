package devicemapper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Wait returns when the device's event number is another than seen, with the
// number it has then. Read Info first, look at the state the event is about,
// and pass that Info's EventNumber: an event in between ends the wait at once.
//
// What raises an event is up to the targets. A thin pool does when it hands
// out a block and its free data is below its low-water mark (once for every
// resume, which itself raises none), when free metadata falls below its own
// mark, and when it changes its mode. Not all that matters has an event; look
// at the status by a timer as well.
//
// It ends early with the context's error, or with ErrNotExist when the device
// is gone. No thread of the process and no goroutine of this package is held
// while it waits.
func (c *Client) Wait(ctx context.Context, ref Ref, seen uint32) (uint32, error) {
	watch, err := openWatch()
	if err != nil {
		return 0, err
	}
	defer watch.close()
	for {
		// Armed before the look: an event behind the look wakes the wait.
		if err := watch.arm(ctx); err != nil {
			return 0, err
		}
		info, err := c.Info(ctx, ref)
		if err != nil {
			return 0, err
		}
		if info.EventNumber != seen {
			return info.EventNumber, nil
		}
		if err := watch.wait(ctx); err != nil {
			return 0, fmt.Errorf("device mapper: wait %s: %w", ref, err)
		}
	}
}

// watch is an open control node of its own: the kernel keeps per open file
// which events it has seen (struct dm_file in drivers/md/dm-ioctl.c), and the
// Go runtime's poller waits for it to become readable.
type watch struct {
	client  *Client
	control syscall.RawConn
}

func openWatch() (*watch, error) {
	// O_NONBLOCK is what makes os.NewFile hand the descriptor to the poller.
	fd, err := unix.Open(controlPath, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("device mapper: open %s: %w", controlPath, err)
	}
	file := os.NewFile(uintptr(fd), controlPath)
	client, err := newClient(file)
	if err != nil {
		return nil, err
	}
	control, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("device mapper: %w", err), file.Close())
	}
	return &watch{client: client, control: control}, nil
}

func (w *watch) close() { _ = w.client.file.Close() }

// arm makes the node readable with the next event of any device.
func (w *watch) arm(ctx context.Context) error {
	_, err := w.client.call(ctx, request{op: "arm poll", command: unix.DM_DEV_ARM_POLL})
	return err
}

// wait returns when the node is readable, or when ctx ends.
func (w *watch) wait(ctx context.Context) error {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = w.client.file.SetReadDeadline(time.Unix(1, 0))
	})
	err := w.control.Read(func(fd uintptr) bool { return readable(int(fd)) })
	if !stop() {
		<-ended
		return context.Cause(ctx)
	}
	return err
}

func readable(fd int) bool {
	set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(set, 0)
		if !errors.Is(err, unix.EINTR) {
			return n != 0 || err != nil
		}
	}
}
