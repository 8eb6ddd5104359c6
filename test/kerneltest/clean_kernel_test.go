//go:build kernel

package kerneltest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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

	device, err := attachLoop(scratchFile(t, 1<<20), 0)
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
	table := fmt.Sprintf("0 %d linear %s 0", 1<<20/sectorSize, device)
	if err := dmsetup("create", name, "--table", table); err != nil {
		t.Fatal(err)
	}
	if suspended {
		if err := dmsetup("suspend", name); err != nil {
			t.Fatal(err)
		}
	}
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
