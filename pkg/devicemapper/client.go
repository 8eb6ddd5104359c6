package devicemapper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// controlPath is the node every ioctl goes through. The kernel makes it in
// devtmpfs (misc device 10:236) once dm_mod is there.
const controlPath = "/dev/mapper/control"

// Client talks to the kernel's device mapper. All its methods are safe for
// concurrent use; calls for different devices do not wait for one another in
// this package.
type Client struct {
	file  *os.File
	ioctl ioctlFunc
}

// Open opens /dev/mapper/control, which takes CAP_SYS_ADMIN to be of use, and
// checks that the kernel speaks MinimumVersion or newer of the interface.
func Open() (*Client, error) {
	file, err := os.OpenFile(controlPath, os.O_RDWR, 0)
	// The node may outlive the module, or precede it: then it is ENODEV.
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		return nil, &UnsupportedError{What: "device mapper (kernel module dm_mod, node " + controlPath + ")"}
	}
	if err != nil {
		return nil, fmt.Errorf("device mapper: %w", err)
	}
	c, err := newClient(file)
	if err != nil {
		return nil, err
	}
	version, err := c.version()
	if err == nil && version.Less(MinimumVersion) {
		err = &UnsupportedError{What: "device-mapper interface", Have: version, Want: MinimumVersion}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return c, nil
}

// newClient takes file over, also where it fails.
func newClient(file *os.File) (*Client, error) {
	control, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("device mapper: %w", err), file.Close())
	}
	return &Client{file: file, ioctl: ioctlOn(control)}, nil
}

// Close closes the control node. Calls that have begun complete; later ones
// return an error that matches os.ErrClosed.
func (c *Client) Close() error { return c.file.Close() }
