//go:build linux

package kerneltest

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// attachPatience bounds the attempts to get a loop device that somebody else takes first.
const attachPatience = 5 * time.Second

// attachLoop puts a free loop device on the file. blockSize is its logical block size in bytes, zero for 512. The ioctls
// are those of loop(4).
func attachLoop(path string, blockSize uint32) (string, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()

	config := unix.LoopConfig{Fd: uint32(file.Fd()), Size: blockSize}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], path)
	for deadline := time.Now().Add(attachPatience); ; {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", fmt.Errorf("get a free loop device: %w", err)
		}
		device := fmt.Sprintf("/dev/loop%d", number)
		loop, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			return "", err
		}
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
		_ = loop.Close()
		if err == nil {
			return device, nil
		}
		// Between the two calls somebody else may have taken it.
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return "", fmt.Errorf("attach %s to %s: %w", path, device, err)
		}
	}
}

// detachLoop takes the loop device off its file, or has the kernel do so at the last close if it is open.
func detachLoop(device string) error {
	loop, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer loop.Close()
	if err := unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_CLR_FD, 0); err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("detach %s: %w", device, err)
	}
	return nil
}
