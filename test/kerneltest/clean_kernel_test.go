//go:build kernel

package kerneltest

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// recorder is a test whose failures are wanted.
type recorder struct {
	testing.TB
	cleanups []func()
	errors   []string
}

func (r *recorder) Helper()                 {}
func (r *recorder) Cleanup(f func())        { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Logf(f string, a ...any) { r.TB.Logf(f, a...) }
func (r *recorder) Errorf(format string, arguments ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, arguments...))
}

func (r *recorder) end() string {
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
	return strings.Join(r.errors, "\n")
}

func TestCheckCleanIsContent(t *testing.T) {
	recorder := &recorder{TB: t}
	CheckClean(recorder)
	Disk(recorder, 1<<20)
	if complaints := recorder.end(); complaints != "" {
		t.Error(complaints)
	}
}

func TestCheckCleanFindsAndTakesDown(t *testing.T) {
	CheckClean(t) // proves that what is found was taken down
	recorder := &recorder{TB: t}
	CheckClean(recorder)

	device, err := attachLoop(filepath.Join(scratchFile(t, 1<<20)), 0)
	if err != nil {
		t.Fatal(err)
	}
	mountPoint := t.TempDir()
	if err := unix.Mount("leftover", mountPoint, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	// The upper one is suspended and keeps the lower one busy.
	createLinear(t, "kerneltest-lower", device, false)
	createLinear(t, "kerneltest-upper", mapped(t, "kerneltest-lower"), true)

	complaints := recorder.end()
	for _, want := range []string{
		"loop device " + device, "mount ", "on " + mountPoint, "device kerneltest-lower", "device kerneltest-upper",
	} {
		if !strings.Contains(complaints, want) {
			t.Errorf("no %q in %q", want, complaints)
		}
	}
	if !strings.Contains(complaints, `device kerneltest-upper, uuid "", suspended`) {
		t.Errorf("the suspended device is not called so: %q", complaints)
	}
}

func scratchFile(t *testing.T, size int64) string {
	t.Helper()
	file, err := os.CreateTemp(Scratch(t), "leftover-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(file.Name()) })
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

// createLinear makes a linear device over the first MiB of another one.
func createLinear(t *testing.T, name, device string, suspended bool) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(control(unix.DM_DEV_CREATE, name))

	parameters := device + " 0\x00"
	specification := unix.DmTargetSpec{Length: 1 << 20 / sectorSize}
	copy(specification.Target_type[:], "linear")
	message := unix.DmIoctl{Version: [3]uint32{4, 0, 0}, Data_start: unix.SizeofDmIoctl, Target_count: 1}
	copy(message.Name[:], name)
	buffer := make([]byte, 1024)
	message.Data_size = uint32(len(buffer))
	*(*unix.DmIoctl)(unsafe.Pointer(&buffer[0])) = message
	*(*unix.DmTargetSpec)(unsafe.Pointer(&buffer[unix.SizeofDmIoctl])) = specification
	copy(buffer[unix.SizeofDmIoctl+unix.SizeofDmTargetSpec:], parameters)
	must(send(unix.DM_TABLE_LOAD, buffer))

	must(control(unix.DM_DEV_SUSPEND, name)) // without the flag: resume
	if suspended {
		message := unix.DmIoctl{Version: [3]uint32{4, 0, 0}, Data_size: unix.SizeofDmIoctl, Flags: unix.DM_SUSPEND_FLAG}
		copy(message.Name[:], name)
		must(send(unix.DM_DEV_SUSPEND, unsafe.Slice((*byte)(unsafe.Pointer(&message)), unix.SizeofDmIoctl)))
	}
}

func send(request uint, buffer []byte) error {
	file, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), uintptr(request), uintptr(unsafe.Pointer(&buffer[0]))); errno != 0 {
		return errno
	}
	return nil
}

// mapped returns the device node of a device-mapper device.
func mapped(t *testing.T, name string) string {
	t.Helper()
	names, err := filepath.Glob("/sys/block/dm-*/dm/name")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range names {
		if read(t, path) == name {
			return "/dev/" + filepath.Base(filepath.Dir(filepath.Dir(path)))
		}
	}
	t.Fatalf("no device %s", name)
	return ""
}

// targetVersions lists the kernel's targets: struct dm_target_versions of linux/dm-ioctl.h, one after another.
func targetVersions() (map[string][3]uint32, error) {
	buffer := make([]byte, 16<<10)
	*(*unix.DmIoctl)(unsafe.Pointer(&buffer[0])) = unix.DmIoctl{
		Version: [3]uint32{4, 0, 0}, Data_size: uint32(len(buffer)), Data_start: unix.SizeofDmIoctl,
	}
	if err := send(unix.DM_LIST_VERSIONS, buffer); err != nil {
		return nil, err
	}
	result := make(map[string][3]uint32)
	const header = 16 // next, version[3]
	for offset := unix.SizeofDmIoctl; ; {
		next := binary.NativeEndian.Uint32(buffer[offset:])
		var version [3]uint32
		for i := range version {
			version[i] = binary.NativeEndian.Uint32(buffer[offset+4+4*i:])
		}
		result[unix.ByteSliceToString(buffer[offset+header:])] = version
		if next == 0 {
			return result, nil
		}
		offset += int(next)
	}
}
