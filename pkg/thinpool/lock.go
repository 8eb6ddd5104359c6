package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// partLock is the pool's lock: a kernel device over the beginning of device 0, where the label is. Whoever has it open
// exclusively (O_EXCL) has the pool, in the whole kernel whatever mount namespace or container it runs in, until it closes
// it or dies. The lock on the registry's file is not enough: a repair works where the registry cannot be mounted.
const partLock = "lock"

// lockSectors is the size of the lock's device. Nothing reads it.
const lockSectors = 8

// lockRetry is how often a lock that somebody else holds is tried; registryLockTimeout bounds it.
const lockRetry = 100 * time.Millisecond

// poolLock is held while the pool is open, checked or repaired.
type poolLock struct {
	stack  stack
	device devicemapper.Device
	made   bool // by this process: there was no kernel device of the pool before, perhaps
	file   *os.File
}

// lock takes the pool of these devices for this process, or fails with ErrDeviceInUse. What another process changed before
// it let go of the pool is seen: the caller's labels were read without the lock, so they are compared with what is there.
func (s stack) lock(ctx context.Context, devices sourceDevices) (_ *poolLock, err error) {
	var made parts
	table := devicemapper.Table{{Length: lockSectors, Target: devicemapper.Linear{Device: devices.numbers()[0]}}}
	device, err := s.ensurePart(ctx, partLock, table, &made)
	if err != nil {
		return nil, err
	}
	l := &poolLock{stack: s, device: device, made: len(made) > 0}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.giveUp(ctx))
		}
	}()
	for deadline := time.Now().Add(registryLockTimeout); ; {
		l.file, err = os.OpenFile(device.Path(), os.O_RDONLY|unix.O_EXCL, 0)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("lock pool: %w", err)
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%w: another process has the pool open", ErrDeviceInUse)
		}
		select {
		case <-time.After(lockRetry):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	current, err := readLabel(devices[0].file)
	if err != nil {
		return nil, err
	}
	if own := devices[0].label; current.PoolID != own.PoolID || current.Generation != own.Generation {
		return nil, fmt.Errorf("%w: the pool was changed by another process meanwhile", ErrDeviceInUse)
	}
	return l, nil
}

// close lets go of the pool; its kernel device stays. A nil lock is that of a pool that has none.
func (l *poolLock) close() error {
	if l == nil || l.file == nil {
		return nil
	}
	file := l.file
	l.file = nil
	return file.Close()
}

// remove lets go of the pool and removes the kernel device.
func (l *poolLock) remove(ctx context.Context) error {
	if l == nil {
		return nil
	}
	return errors.Join(l.close(), l.stack.remove(ctx, l.device))
}

// giveUp lets go of the pool as it was found: the device goes if it was made here, and nobody else waits for it.
func (l *poolLock) giveUp(ctx context.Context) error {
	if l == nil {
		return nil
	}
	err := l.close()
	if !l.made {
		return err
	}
	return errors.Join(err, l.stack.undo(ctx, parts{l.device}))
}
