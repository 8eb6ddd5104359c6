package thinpool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
)

// openLoopback makes the file where there is none and puts a loop device on it, or takes the one that is there. The loop
// device ends by itself when neither this process nor the pool's tables hold it any more.
func openLoopback(source Loopback) (*os.File, blockdevice.Description, error) {
	if err := makeLoopFile(source); err != nil {
		return nil, blockdevice.Description{}, err
	}
	return blockdevice.AttachLoop(source.Path)
}

// makeLoopFile makes the file complete or not at all: it gets its size under another name. Its own name is durable before
// anything is acknowledged that lies in it; without that a power cut would leave no file, and the next Open an empty pool.
func makeLoopFile(source Loopback) error {
	info, err := os.Lstat(source.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return &FieldError{Field: "source.loopback.path", Value: source.Path, Allowed: "a regular file, or nothing yet"}
	case info.Size() > source.Size:
		return fmt.Errorf("%w: source.loopback.size is %d bytes, the file %s has %d, and a pool cannot shrink", ErrSourceChanged, source.Size, source.Path, info.Size())
	default:
		return nil // one that is smaller grows once it is known to be whole; see growFile
	}
	if err := os.MkdirAll(filepath.Dir(source.Path), 0o700); err != nil {
		return err
	}
	partial := source.Path + ".new"
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(file.Truncate(source.Size), file.Sync(), file.Close())
	if err != nil {
		return errors.Join(err, os.Remove(partial))
	}
	if err := os.Rename(partial, source.Path); err != nil {
		return err
	}
	directory, err := os.Open(filepath.Dir(source.Path))
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
