// Command testinit is process 1 of the guests that the tests of package uml boot. TESTINIT tells what it does.
package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/uml/guest"
)

const block = 4096

func main() {
	job := os.Getenv("TESTINIT")
	fmt.Printf("testinit: %s\n", job)
	if err := run(job); err != nil {
		fmt.Printf("testinit failed: %v\n", err)
		os.Exit(1) // panics the kernel
	}
	fmt.Println("testinit: done")
	guest.PowerOff()
}

func run(job string) error {
	switch job {
	case "mount":
		if err := guest.Mount(guest.Proc, guest.Sysfs, guest.Run, guest.Tmp, guest.HostDirectory(os.Getenv("SHARE"), true)); err != nil {
			return err
		}
		return os.WriteFile(os.Getenv("SHARE")+"/answer", []byte("from the guest"), 0o600)
	case "modules":
		if err := guest.Mount(guest.Proc); err != nil {
			return err
		}
		if err := guest.LoadModules("dm-thin-pool", "dm_thin_pool", "xfs", "loop"); err != nil {
			return err
		}
		modules, err := os.ReadFile("/proc/modules")
		fmt.Printf("%s", modules)
		return err
	case "write":
		return write("/dev/ubda")
	case "read":
		return read("/dev/ubda")
	case "channels":
		return channels()
	case "orphan":
		return orphan()
	case "hang":
		time.Sleep(time.Hour)
	case "fail":
		return fmt.Errorf("as asked")
	}
	return nil
}

// channels writes bytes that a terminal would translate, and more of them than any buffer on the way holds.
func channels() error {
	for i, text := range []string{"first\n\x00\tend", strings.Repeat("0123456789\n", 100_000)} {
		channel, err := guest.OpenChannel(i)
		if err != nil {
			return err
		}
		if _, err := channel.WriteString(text); err != nil {
			return err
		}
		if err := channel.Close(); err != nil {
			return err
		}
	}
	return nil
}

// orphan ends when the process that started the guest is gone.
func orphan() error {
	gone := make(chan struct{})
	if err := guest.WatchStarter(func() { close(gone) }); err != nil {
		return err
	}
	fmt.Println("testinit: waiting")
	<-gone
	return nil
}

// write flushes one block, leaves a second one unflushed and waits for the power cut.
func write(path string) error {
	disk, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if _, err := disk.WriteAt(filled('f'), 0); err != nil {
		return err
	}
	if err := disk.Sync(); err != nil {
		return err
	}
	if _, err := disk.WriteAt(filled('u'), 64*block); err != nil {
		return err
	}
	fmt.Println("testinit: cut me")
	time.Sleep(time.Hour)
	return nil
}

func read(path string) error {
	disk, err := os.Open(path)
	if err != nil {
		return err
	}
	defer disk.Close()
	size, err := unix.Seek(int(disk.Fd()), 0, unix.SEEK_END)
	if err != nil {
		return err
	}
	first, second := make([]byte, 1), make([]byte, 1)
	if _, err := disk.ReadAt(first, 0); err != nil {
		return err
	}
	if _, err := disk.ReadAt(second, 64*block); err != nil {
		return err
	}
	fmt.Printf("testinit: size %d flushed %q unflushed %q\n", size, first, second)
	return nil
}

func filled(with byte) []byte {
	buffer := make([]byte, block)
	for i := range buffer {
		buffer[i] = with
	}
	return buffer
}
