package filesystem

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// SetXFSNoSpaceRetries limits how often a mounted xfs on the device (/dev/dm-N) tries again to write metadata after ENOSPC
// before it shuts down: 0 is at once, -1 for ever, which is the kernel's default and leaves processes that cannot be killed
// on a full pool (Documentation/admin-guide/xfs.rst, "Error handling").
func SetXFSNoSpaceRetries(device string, retries int) error {
	return writeNoSpaceRetries("/sys/fs/xfs", device, retries)
}

func writeNoSpaceRetries(root, device string, retries int) error {
	if retries < -1 {
		return fmt.Errorf("retries %d are not allowed: -1 or more", retries)
	}
	path := filepath.Join(root, filepath.Base(device), "error/metadata/ENOSPC/max_retries")
	// Not os.WriteFile, which would make a file where there is no such mount.
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, err = file.WriteString(strconv.Itoa(retries))
	return err
}
