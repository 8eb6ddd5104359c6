package filesystem

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// MinimumSize is the smallest device, in bytes, that a file system of this type is made on: ext4 needs room for its
// journal, and mkfs.xfs refuses less.
func MinimumSize(t Type) int64 {
	switch t {
	case Ext4:
		return 16 << 20
	case XFS:
		return 300 << 20
	}
	return 0
}

// Make makes a file system of the given format on a device of size bytes that reads as zeros, such as a new thin device.
// On a device that holds anything else the result is undefined: nothing is discarded, and what mkfs leaves to the zeros
// stays as it is. The device must not be mounted. It runs mkfs, and is not for the path of a pod.
func Make(ctx context.Context, device string, size int64, format Format) error {
	arguments, err := makeArguments(device, size, format)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, arguments[0], arguments[1:]...)
	// Without a configuration file of the host, which differs between distributions, so that a volume is the same on all.
	command.Env = append(os.Environ(), "MKE2FS_CONFIG=/dev/null", "LC_ALL=C")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s of %d bytes: %w: %s", arguments[0], size, err, strings.TrimSpace(string(output)))
	}
	return nil
}

// makeArguments returns the command line of mkfs. The features are named one by one and none is left to the defaults of
// the installed version: they are those that Linux 6.1 mounts.
func makeArguments(device string, size int64, format Format) ([]string, error) {
	if size < MinimumSize(format.Type) {
		return nil, fmt.Errorf("%s on %d bytes: at least %d are needed", format.Type, size, MinimumSize(format.Type))
	}
	chosen, err := parseMkfsWords(format.Type, format.Options)
	if err != nil {
		return nil, err
	}
	switch format.Type {
	case Ext4:
		return append(ext4Arguments(size, chosen), "--", device), nil
	case XFS:
		return append(xfsArguments(size, chosen), "--", device), nil
	}
	_, err = ParseType(string(format.Type))
	return nil, err
}
