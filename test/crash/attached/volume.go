//go:build linux

// Package attached has volumes in use: activated, mounted where they have a file system, and read and written by chunks.
package attached

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/crash/content"
	"github.com/csi-dm/csi-dm/test/crash/history"
)

// startPatience is far above what the start of a program takes.
const startPatience = 5 * time.Second

// Volume is a volume in use. Its methods may be called from two goroutines as long as these stay away from Close.
type Volume struct {
	Name, Device string

	pool   *thinpool.Pool
	fsType filesystem.Type // empty: raw
	parent string          // of the mount point
}

// Open activates the volume and mounts it below directory, under its name. If it is to fit, the file system is brought up to
// the device's size.
func Open(ctx context.Context, pool *thinpool.Pool, directory, name string, fit bool) (_ *Volume, err error) {
	described, err := pool.Volume(name)
	if err != nil {
		return nil, err
	}
	device, err := pool.Activate(ctx, name)
	if err != nil {
		return nil, err
	}
	v := &Volume{Name: name, Device: device, pool: pool, fsType: described.Format.Type, parent: directory}
	if v.fsType == "" {
		return v, nil
	}
	if err := v.mount(fit); err != nil {
		return nil, errors.Join(err, pool.Deactivate(ctx, name))
	}
	return v, nil
}

func (v *Volume) mount(fit bool) error {
	if err := os.MkdirAll(v.root(), 0o700); err != nil {
		return err
	}
	target, err := v.open()
	if err != nil {
		return err
	}
	defer target.Close()
	options, err := filesystem.ParseMountOptions(v.fsType, nil)
	if err != nil {
		return err
	}
	if fit {
		options = options.Growing()
	}
	return filesystem.Mount(v.Device, v.fsType, options, target)
}

func (v *Volume) root() string { return filepath.Join(v.parent, v.Name) }

func (v *Volume) open() (*os.File, error) {
	return os.OpenFile(v.root(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// Grow brings the mounted file system up to the device's size.
func (v *Volume) Grow() error {
	if v.fsType == "" {
		return nil
	}
	root, err := v.open()
	if err != nil {
		return err
	}
	return errors.Join(filesystem.Grow(root, v.Device), root.Close())
}

// Settle writes out all that is in the page cache for the volume's file system.
func (v *Volume) Settle() error {
	root, err := os.Open(v.root())
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(root.Fd())), root.Close())
}

// Unmount unmounts the volume and leaves it active.
func (v *Volume) Unmount() error {
	if v.fsType == "" {
		return nil
	}
	parent, err := os.Open(v.parent)
	if err != nil {
		return err
	}
	// A program that another goroutine is about to start has a copy of every open file until it runs.
	for deadline := time.Now().Add(startPatience); ; time.Sleep(time.Millisecond) {
		err = filesystem.Unmount(parent, v.Name)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return errors.Join(err, parent.Close(), os.Remove(v.root()))
		}
	}
}

// Close unmounts and deactivates the volume.
func (v *Volume) Close(ctx context.Context) error {
	if err := v.Unmount(); err != nil {
		return err
	}
	return v.pool.Deactivate(ctx, v.Name)
}

// place is where a chunk lies: a path, and an offset in bytes.
func (v *Volume) place(chunk int) (string, int64) {
	if v.fsType == "" {
		return v.Device, int64(chunk) * content.ChunkSize
	}
	name := fmt.Sprintf("file-%d", chunk/history.ChunksPerFile)
	return filepath.Join(v.root(), name), int64(chunk%history.ChunksPerFile) * content.ChunkSize
}

// Write writes a chunk into the page cache, and makes its file where there is none.
func (v *Volume) Write(chunk int, data []byte) error {
	path, at := v.place(chunk)
	flags := os.O_RDWR
	if v.fsType != "" {
		flags |= os.O_CREATE
	}
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(data, at)
	return errors.Join(err, file.Close())
}

// Sync makes the file that a chunk lies in durable, its name included.
func (v *Volume) Sync(chunk int) error {
	path, _ := v.place(chunk)
	paths := []string{path}
	if v.fsType != "" {
		paths = append(paths, v.root())
	}
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := errors.Join(file.Sync(), file.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Read reads a chunk, as far as its file goes. No file is no data.
func (v *Volume) Read(chunk int) ([]byte, error) {
	path, at := v.place(chunk)
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data := make([]byte, content.ChunkSize)
	n, err := file.ReadAt(data, at)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return data[:n], err
}
