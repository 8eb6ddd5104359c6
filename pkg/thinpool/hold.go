package thinpool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// freezeTimeout is how long a device's file system may refuse to be frozen, because it is just being unmounted or because
// somebody else has frozen it.
const freezeTimeout = 5 * time.Second

// errFreeze: a file system failed to write out what a freeze takes.
var errFreeze = errors.New("the file system could not be frozen")

// hold holds a device's I/O back while act runs, with its file system frozen: all that was written before is on the device
// then, and consistent. It is released whatever act returns, and whether or not ctx has ended. held is how long writers had
// to wait at most.
func (p *Pool) hold(ctx context.Context, device devicemapper.Device, act func() error) (held time.Duration, err error) {
	began, err := p.freeze(ctx, device)
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, p.release(ctx, device))
		held = time.Since(began)
	}()
	return 0, act()
}

// freeze suspends a device. While its file system is being unmounted newer kernels refuse with EINVAL, and while somebody else
// keeps it frozen with EBUSY: both pass. When nobody has the device open any more, there is nothing to freeze.
func (p *Pool) freeze(ctx context.Context, device devicemapper.Device) (began time.Time, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, freezeTimeout, errors.New("its file system could not be frozen in time"))
	defer cancel()
	options := devicemapper.SuspendOptions{}
	for delay := time.Millisecond; ; delay = min(2*delay, 50*time.Millisecond) {
		began = time.Now()
		err = p.dm.Suspend(ctx, device, options)
		if err == nil || errors.Is(err, devicemapper.ErrNotExist) || ctx.Err() != nil {
			return began, err
		}
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EBUSY) {
			return began, fmt.Errorf("%w: %w", errFreeze, err)
		}
		info, infoErr := p.dm.Info(ctx, device)
		if infoErr != nil {
			return began, infoErr
		}
		options.SkipLockFS = info.OpenCount == 0
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return began, fmt.Errorf("%w: %w: %w", ErrVolumeInUse, context.Cause(ctx), err)
		}
	}
}

// release resumes a device. It does not give up before undoTimeout: until then the volume's users hang.
func (p *Pool) release(ctx context.Context, device devicemapper.Device) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	for delay := time.Millisecond; ; delay = min(2*delay, time.Second) {
		err := p.dm.Resume(ctx, device)
		if err == nil || errors.Is(err, devicemapper.ErrNotExist) {
			return nil
		}
		klog.FromContext(ctx).Error(err, "Resuming a volume's device failed, its I/O is held back", "pool", p.label.PoolName, "device", device.Name)
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("resume: %w", err)
		}
	}
}
