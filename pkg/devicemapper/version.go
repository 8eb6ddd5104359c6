package devicemapper

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Version is the version of the ioctl interface or of a target. Each part is
// raised for, in turn, an incompatible change, a new feature and a fix.
type Version struct {
	Major, Minor, Patch uint32
}

// What this package and a thin pool need of the kernel.
var (
	// MinimumVersion of the ioctl interface: 4.37 (Linux 4.14) brought
	// DM_DEV_ARM_POLL, on which Client.Wait rests.
	MinimumVersion = Version{Major: 4, Minor: 37}
	// MinimumThinPoolVersion of the thin-pool target: 1.20 (Linux 4.19) brought
	// the metadata's low-water mark into the status line.
	MinimumThinPoolVersion = Version{Major: 1, Minor: 20}
)

// String returns "major.minor.patch".
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// Less reports whether v is older than other.
func (v Version) Less(other Version) bool {
	if v.Major != other.Major {
		return v.Major < other.Major
	}
	if v.Minor != other.Minor {
		return v.Minor < other.Minor
	}
	return v.Patch < other.Patch
}

// TargetVersion is a target that the kernel knows at the moment.
type TargetVersion struct {
	Type    string // "linear", "thin-pool", …
	Version Version
}

// UnsupportedError is a kernel that lacks what is needed. It matches
// ErrUnsupported.
type UnsupportedError struct {
	What string  // what is missing or too old
	Have Version // zero where it is missing
	Want Version // zero where any version would do
}

// Error says what is needed and, where it is too old, what is there.
func (e *UnsupportedError) Error() string {
	switch {
	case e.Have != Version{}:
		return fmt.Sprintf("device mapper: the kernel's %s has version %s, at least %s is needed", e.What, e.Have, e.Want)
	case e.Want != Version{}:
		return fmt.Sprintf("device mapper: the kernel has no %s, at least version %s is needed", e.What, e.Want)
	}
	return fmt.Sprintf("device mapper: the kernel has no %s", e.What)
}

// Is reports whether target is ErrUnsupported.
func (e *UnsupportedError) Is(target error) bool { return target == ErrUnsupported }

// Version returns the version of the kernel's ioctl interface.
func (c *Client) Version(ctx context.Context) (Version, error) {
	if err := ctx.Err(); err != nil {
		return Version{}, versionRequest.interrupted(ctx)
	}
	return c.version()
}

var versionRequest = request{op: "version", command: unix.DM_VERSION}

// version asks without a context: this ioctl neither waits nor needs more
// than the header, and the kernel answers it whatever version it speaks.
func (c *Client) version() (Version, error) {
	b := newBuffer(0)
	if err := versionRequest.encode(b); err != nil {
		return Version{}, err
	}
	_, errno, err := c.ioctl(versionRequest.command, b)
	switch {
	case err != nil:
		return Version{}, fmt.Errorf("device mapper: version: %w", err)
	case errno != 0:
		return Version{}, versionRequest.refused(errno)
	}
	v := b.header().Version
	return Version{v[0], v[1], v[2]}, nil
}

// TargetVersions lists the targets that are built into the kernel or loaded
// as modules now. One that is missing may be loaded on demand; ask
// TargetVersion for it.
func (c *Client) TargetVersions(ctx context.Context) ([]TargetVersion, error) {
	r, err := c.call(ctx, request{op: "list targets", command: unix.DM_LIST_VERSIONS, room: 4096})
	if err != nil {
		return nil, err
	}
	return parseTargetVersions(r.data)
}

// TargetVersion returns the version of one target and has the kernel load its
// module if it must. A target that there is none of is an *UnsupportedError.
func (c *Client) TargetVersion(ctx context.Context, target string) (Version, error) {
	if target == "" || len(target) >= unix.DM_MAX_TYPE_NAME {
		return Version{}, invalid("target type", target, fmt.Sprintf("1 to %d characters", unix.DM_MAX_TYPE_NAME-1))
	}
	r, err := c.call(ctx, request{
		op: "target version", command: unix.DM_GET_TARGET_VERSION, room: 256,
		prepare: func(h *unix.DmIoctl) { copy(h.Name[:], target) },
	})
	var found []TargetVersion
	switch {
	case errors.Is(err, unix.EINVAL):
		return Version{}, &UnsupportedError{What: target + " target"}
	case errors.Is(err, unix.ENOTTY): // the command came with interface version 4.41
		found, err = c.TargetVersions(ctx)
	case err == nil:
		found, err = parseTargetVersions(r.data)
	}
	if err != nil {
		return Version{}, err
	}
	for _, f := range found {
		if f.Type == target {
			return f.Version, nil
		}
	}
	return Version{}, &UnsupportedError{What: target + " target"}
}

// RequireThinPool checks that the kernel can serve thin pools: that it has
// the thin-pool target, as a module or built in, in MinimumThinPoolVersion or
// newer. The *UnsupportedError otherwise says what is missing.
func (c *Client) RequireThinPool(ctx context.Context) (Version, error) {
	const what = "thin-pool target (kernel module dm_thin_pool)"
	have, err := c.TargetVersion(ctx, TypeThinPool)
	if errors.Is(err, ErrUnsupported) {
		return Version{}, &UnsupportedError{What: what, Want: MinimumThinPoolVersion}
	}
	if err != nil {
		return Version{}, err
	}
	if have.Less(MinimumThinPoolVersion) {
		return have, &UnsupportedError{What: what, Have: have, Want: MinimumThinPoolVersion}
	}
	return have, nil
}

// parseTargetVersions reads a chain of struct dm_target_versions: the offset
// of the next one, three version numbers, the name.
func parseTargetVersions(data []byte) ([]TargetVersion, error) {
	const fixed = 16
	var found []TargetVersion
	for {
		if len(data) < fixed {
			return nil, &FormatError{What: "target list", Reason: "a record is cut short"}
		}
		name, terminated := text(data[fixed:])
		if !terminated {
			return nil, &FormatError{What: "target list", Text: name, Reason: "a name has no end"}
		}
		found = append(found, TargetVersion{Type: name, Version: Version{
			binary.NativeEndian.Uint32(data[4:]), binary.NativeEndian.Uint32(data[8:]), binary.NativeEndian.Uint32(data[12:]),
		}})
		next := int(binary.NativeEndian.Uint32(data))
		if next == 0 {
			return found, nil
		}
		if next < fixed || next > len(data) {
			return nil, &FormatError{What: "target list", Text: name, Reason: "the next record is out of bounds"}
		}
		data = data[next:]
	}
}
