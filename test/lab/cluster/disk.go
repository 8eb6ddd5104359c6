package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// systemDiskSize is that of a node's system disk, a sparse file; in bytes.
const systemDiskSize = 16 << 30

// giveDisks gives a new node its disks, as sparse files: a copy of the template and a blank one.
func (s *supervisor) giveDisks(ctx context.Context, n *guestNode) error {
	template, err := s.systemTemplate(ctx)
	if err != nil {
		return err
	}
	folder := filepath.Join(s.config.Disks, n.options.Name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	system, pool := filepath.Join(folder, "system"), filepath.Join(folder, "pool")
	if err := errors.Join(copySparse(system, template), makeSparse(pool, n.options.PoolDiskBytes)); err != nil {
		return err
	}
	n.disks = []string{system, pool}
	for _, archive := range s.config.Images {
		n.images[archive] = true
	}
	return nil
}

// makeSparse makes a file of holes.
func makeSparse(file string, size int64) error {
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return err
	}
	return os.Truncate(file, size)
}

// formatSystemDisk makes a system disk without anything on it.
func formatSystemDisk(ctx context.Context, file string) error {
	if err := makeSparse(file, systemDiskSize); err != nil {
		return err
	}
	format := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", file)
	if output, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("format a system disk: %w: %s", err, output)
	}
	return nil
}

// copySparse copies a file and its holes.
func copySparse(target, source string) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	to, err := os.Create(target)
	if err != nil {
		return err
	}
	err = errors.Join(copyData(to, from, info.Size()), to.Truncate(info.Size()), to.Close())
	if err != nil {
		return fmt.Errorf("copy %s: %w", source, err)
	}
	return nil
}

// copyData copies what lies between the holes.
func copyData(to, from *os.File, size int64) error {
	for offset := int64(0); offset < size; {
		start, err := unix.Seek(int(from.Fd()), offset, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // nothing but a hole is left
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(int(from.Fd()), start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if _, err := from.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := to.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(to, from, end-start); err != nil {
			return err
		}
		offset = end
	}
	return nil
}
