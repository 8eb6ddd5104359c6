package confinedpath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Root is a directory that paths are confined to. Its methods may be called concurrently.
type Root struct {
	directory string
	file      *os.File
}

// OpenRoot opens the directory, an absolute path. Symbolic links on the way to it are followed: it is the admin's choice,
// and mounting something over it later does not change what Root stands for.
func OpenRoot(directory string) (*Root, error) {
	if !filepath.IsAbs(directory) || filepath.Clean(directory) != directory {
		return nil, &Error{Path: directory, Reason: "it must be absolute, without empty, '.' or '..' parts"}
	}
	fd, err := unix.Open(directory, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &Error{Path: directory, Err: err}
	}
	return &Root{directory: directory, file: os.NewFile(uintptr(fd), directory)}, nil
}

// Directory is the path that OpenRoot was given.
func (r *Root) Directory() string { return r.directory }

// Close closes the directory. Files that were opened below it stay open.
func (r *Root) Close() error { return r.file.Close() }

// Check refuses what Open would refuse whatever exists: it looks at the path as text only.
func (r *Root) Check(path string) error {
	_, err := relative(r.directory, path)
	return err
}

// Open opens a directory below the root for use as a place (O_PATH). Where something is mounted on it, that is what is
// opened. Not existing is os.ErrNotExist; a symbolic link anywhere on the path is ErrNotAllowed.
func (r *Root) Open(path string) (*os.File, error) {
	below, err := relative(r.directory, path)
	if err != nil {
		return nil, err
	}
	return r.open(path, below)
}

// OpenParent opens the directory that path lies in, as Open does, and gives the last part of path. That part may be
// anything, or nothing.
func (r *Root) OpenParent(path string) (*os.File, string, error) {
	below, err := relative(r.directory, path)
	if err != nil {
		return nil, "", err
	}
	parent, err := r.open(path, filepath.Dir(below))
	return parent, filepath.Base(below), err
}

// MakeDirectory makes the directory if it is missing, but none of those above it, and opens it. What was made is gone
// again if it cannot be opened.
func (r *Root) MakeDirectory(path string, mode os.FileMode) (*os.File, error) {
	parent, name, err := r.OpenParent(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = parent.Close() }()
	if err := unix.Mkdirat(int(parent.Fd()), name, uint32(mode.Perm())); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, &Error{Path: path, Err: fmt.Errorf("make directory: %w", err)}
	}
	return r.Open(path)
}

func (r *Root) open(path, below string) (*os.File, error) {
	return r.openAny(path, below, unix.O_DIRECTORY)
}

// openAny opens what is there as a place, with flags of open(2) besides.
func (r *Root) openAny(path, below string, flags uint64) (*os.File, error) {
	fd, err := unix.Openat2(int(r.file.Fd()), below, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC | flags,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, &Error{Path: path, Reason: "a symbolic link is on it"}
	case errors.Is(err, unix.EXDEV):
		return nil, &Error{Path: path, Reason: "it leads out of " + r.directory}
	case err != nil:
		return nil, &Error{Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}
