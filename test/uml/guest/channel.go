package guest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenChannel opens the way out that is Machine.Channels[index], byte for byte: nothing that is written is translated.
func OpenChannel(index int) (*os.File, error) {
	file, err := os.OpenFile(fmt.Sprintf("/dev/tty%d", index+1), os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	settings, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	if err == nil {
		settings.Oflag &^= unix.OPOST
		settings.Lflag &^= unix.ECHO
		err = unix.IoctlSetTermios(int(file.Fd()), unix.TCSETS, settings)
	}
	if err != nil {
		return nil, fmt.Errorf("make %s raw: %w", file.Name(), err)
	}
	return file, nil
}
