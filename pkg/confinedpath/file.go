package confinedpath

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenFile opens what is no directory, for use as a place (O_PATH): where something is mounted on it, that is what is opened,
// and nothing is done to a device. Not existing is os.ErrNotExist; a directory, and a symbolic link anywhere on the path, is
// ErrNotAllowed.
func (r *Root) OpenFile(path string) (*os.File, error) {
	below, err := relative(r.directory, path)
	if err != nil {
		return nil, err
	}
	file, err := r.openAny(path, below, 0)
	if err != nil {
		return nil, err
	}
	var status unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &status); err != nil {
		return nil, errors.Join(&Error{Path: path, Err: err}, file.Close())
	}
	if status.Mode&unix.S_IFMT == unix.S_IFDIR {
		return nil, errors.Join(&Error{Path: path, Reason: "it is a directory, and a file is wanted"}, file.Close())
	}
	return file, nil
}

// MakeFile makes an empty file if there is nothing, but no directory above it, and opens it as OpenFile does.
func (r *Root) MakeFile(path string, mode os.FileMode) (*os.File, error) {
	parent, name, err := r.OpenParent(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = parent.Close() }()
	if err := unix.Mknodat(int(parent.Fd()), name, unix.S_IFREG|uint32(mode.Perm()), 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, &Error{Path: path, Err: fmt.Errorf("make file: %w", err)}
	}
	return r.OpenFile(path)
}

// Remove removes an empty directory or an empty file, as MakeDirectory and MakeFile make them. One that does not exist is
// success; anything else is an error, and is left alone.
func (r *Root) Remove(path string) error {
	parent, name, err := r.OpenParent(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	var status unix.Stat_t
	err = unix.Fstatat(int(parent.Fd()), name, &status, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &Error{Path: path, Err: err}
	}
	flags := unix.AT_REMOVEDIR
	switch kind := status.Mode & unix.S_IFMT; {
	case kind == unix.S_IFREG && status.Size == 0:
		flags = 0
	case kind != unix.S_IFDIR:
		return &Error{Path: path, Err: errors.New("remove: it is neither a directory nor an empty file")}
	}
	if err := unix.Unlinkat(int(parent.Fd()), name, flags); err != nil && !errors.Is(err, unix.ENOENT) {
		return &Error{Path: path, Err: fmt.Errorf("remove: %w", err)}
	}
	return nil
}
