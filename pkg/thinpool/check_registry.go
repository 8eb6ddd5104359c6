package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// registryFindings is what is known of a registry that is not open.
type registryFindings struct {
	fileSystemDamage, damage string
	contents                 *registryContents // nil: not readable
}

// Exit status of e2fsck(8), a sum of bits: what was corrected, and what could not be, or was not.
const (
	fsckCorrected       = 1
	fsckCorrectedReboot = 2
	fsckUncorrected     = 4
	fsckNotDone         = 8
)

// examineRegistry examines the registry and its file system. It is mounted once, which replays the journal, so that e2fsck
// sees what the kernel sees.
func (m *maintenance) examineRegistry(ctx context.Context) (f registryFindings, err error) {
	device, err := m.stack.ensurePart(ctx, partRegistry, m.label.table(areaRegistry, m.devices.numbers()), &m.made)
	if err != nil {
		return f, err
	}
	m.registryPath = device.Path()
	f.contents, err = m.readRegistry()
	switch {
	case errors.Is(err, errRegistryInUse):
		return f, fmt.Errorf("%w: %w", ErrDeviceInUse, err)
	case errors.Is(err, errRecordNewer):
		return f, fmt.Errorf("%w: %w", ErrFormatNewer, err)
	case err != nil:
		f.damage = err.Error()
	}
	status, said, err := runTool(ctx, "e2fsck", "-f", "-n", "--", device.Path())
	switch {
	case err != nil:
		return f, err
	case status&fsckUncorrected != 0, status&fsckNotDone != 0 && f.damage != "":
		f.fileSystemDamage = said
	case status != 0:
		return f, fmt.Errorf("e2fsck ended with status %d: %s", status, said)
	}
	return f, nil
}

// readRegistry reads all that the registry holds. An error is damage, unless it is errRegistryInUse or errRecordNewer.
func (m *maintenance) readRegistry() (contents *registryContents, err error) {
	mount, err := mountRegistry(m.registryPath)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err = errors.Join(err, mount.close()); err != nil {
			contents = nil
		}
	}()
	if err := mount.checkPages(); err != nil {
		return nil, err
	}
	size, err := registrySize(mount)
	if err != nil {
		return nil, err
	}
	db, contents, err := loadRegistry(mount, size)
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	if contents.pool.PoolID != m.label.PoolID || contents.pool.BlockSectors != m.label.BlockSectors {
		return nil, fmt.Errorf("%w: the registry is of pool %s with blocks of %d sectors", errRecordDamaged, contents.pool.PoolID, contents.pool.BlockSectors)
	}
	return contents, nil
}

// checkPages checks the structure of the registry's file, beside whoever writes it.
func (m *registryMount) checkPages() (err error) {
	fd, err := unix.Openat(m.directory, registryFile, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("registry: %w", &os.PathError{Op: "openat", Path: registryFile, Err: err})
	}
	file := os.NewFile(uintptr(fd), registryFile)
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return checkRegistryPages(file, info.Size())
}

// repairFileSystem runs e2fsck on the registry's file system with all that it proposes. What it makes of a badly damaged
// one may be worse than before: where the registry can still not be read, the file system is put back as it was.
func (m *maintenance) repairFileSystem(ctx context.Context) (err error) {
	device, err := os.OpenFile(m.registryPath, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	before := make([]byte, registryArea)
	if _, err := device.ReadAt(before, 0); err != nil {
		return fmt.Errorf("save registry: %w", err)
	}
	status, said, err := runTool(ctx, "e2fsck", "-f", "-y", "--", m.registryPath)
	if err != nil {
		return err
	}
	_, readErr := m.readRegistry()
	if readErr == nil && status&^(fsckCorrected|fsckCorrectedReboot) == 0 {
		return nil
	}
	if _, err := device.WriteAt(before, 0); err != nil {
		return fmt.Errorf("put registry back: %w", err)
	}
	if err := device.Sync(); err != nil {
		return fmt.Errorf("put registry back: %w", err)
	}
	return fmt.Errorf("%w: e2fsck ended with status %d (%s) and the registry is not readable (%w); it was put back as it was", ErrPoolDamaged, status, said, readErr)
}
