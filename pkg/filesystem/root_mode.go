package filesystem

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrRootMode says that a text is no mode that the root directory of a volume can begin with.
var ErrRootMode = errors.New("root mode is not allowed")

// RootMode is the mode that a file system's root directory begins with: permissions, set-group-id and sticky bit. 0 leaves it
// as mkfs made it, which is 0755.
type RootMode uint32

var rootMode = regexp.MustCompile(`^[0-3]?[0-7]{3}$`)

// RootModeHelp says what ParseRootMode takes.
const RootModeHelp = "three or four octal digits from 0001 to 3777, such as 0770 or 2775"

// ParseRootMode reads a mode as an octal number. Errors match ErrRootMode and say what is allowed.
func ParseRootMode(text string) (RootMode, error) {
	mode, err := strconv.ParseUint(text, 8, 32)
	if err != nil || mode == 0 || !rootMode.MatchString(text) {
		const longest = 32
		return 0, fmt.Errorf("%w: %.*q: allowed are %s", ErrRootMode, longest, text, RootModeHelp)
	}
	return RootMode(mode), nil
}

// String is the mode in four octal digits, or empty for 0.
func (m RootMode) String() string {
	if m == 0 {
		return ""
	}
	return fmt.Sprintf("%04o", uint32(m))
}

// WithRootMode gives the options for a mount whose root directory is to begin with a mode. It is set on the first mount that
// asks for it, before anybody sees that, and never again: an attribute of the root directory (trusted.csi-dm.root-mode, which
// only an administrator of the node sees) says that it was. What the volume's user makes of the mode stays, and so it does in
// copies of the volume.
func (o MountOptions) WithRootMode(mode RootMode) MountOptions {
	o.rootMode = mode
	return o
}

// rootModeMark is on the root directory of a file system whose root mode was set.
const rootModeMark = "trusted.csi-dm.root-mode"

// setRootMode sets the mode of a root directory unless that was done before. The mark is written after the mode and before any
// change of a user, and the journal keeps that order: a power cut may undo both, and takes no user's change for none.
func setRootMode(mount int, mode RootMode) error {
	root, err := openRoot(mount)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	fd := int(root.Fd())
	switch _, err := unix.Fgetxattr(fd, rootModeMark, nil); {
	case err == nil:
		return nil
	case !errors.Is(err, unix.ENODATA):
		return os.NewSyscallError("fgetxattr", err)
	}
	if err := unix.Fchmod(fd, uint32(mode)); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	if err := unix.Fsetxattr(fd, rootModeMark, []byte(mode.String()), 0); err != nil {
		return os.NewSyscallError("fsetxattr", err)
	}
	return os.NewSyscallError("fsync", unix.Fsync(fd)) // for an ext4 without a journal
}
