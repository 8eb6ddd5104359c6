package filesystem

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMountError(t *testing.T) {
	err := fmt.Errorf("stage: %w", &MountError{
		Op: "mount xfs", Device: "/dev/dm-3", Target: "/t", Err: unix.EUCLEAN, Messages: []string{"Corruption warning", "Unmount"},
	})
	if !errors.Is(err, unix.EUCLEAN) || !Damaged(err) {
		t.Errorf("%v does not unwrap to its errno", err)
	}
	for _, part := range []string{"mount xfs", "/dev/dm-3", "/t", "Corruption warning; Unmount"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in: %v", part, err)
		}
	}
	for _, other := range []error{nil, unix.EINVAL, unix.EBUSY} {
		if Damaged(other) {
			t.Errorf("%v passes for damage", other)
		}
	}
}

func TestNoSpaceRetries(t *testing.T) {
	root := t.TempDir()
	if err := writeNoSpaceRetries(root, "/dev/dm-7", 3); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such mount: %v", err)
	}
	knob := filepath.Join(root, "dm-7/error/metadata/ENOSPC/max_retries")
	if err := os.MkdirAll(filepath.Dir(knob), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(knob, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeNoSpaceRetries(root, "/dev/dm-7", -1); err != nil {
		t.Fatal(err)
	}
	if content, _ := os.ReadFile(knob); string(content) != "-1" {
		t.Errorf("the knob holds %q", content)
	}
	if err := writeNoSpaceRetries(root, "/dev/dm-7", -2); err == nil {
		t.Error("-2 passed")
	}
}

func TestCheckExitStatus(t *testing.T) {
	for status, ok := range map[int]bool{0: true, 1: true, 2: true, 3: true, 4: false, 5: false, 8: false, 12: false, 16: false, 32: false, 128: false} {
		err := runCheck(t.Context(), "sh", "-c", fmt.Sprintf("echo words; exit %d", status))
		if (err == nil) != ok {
			t.Errorf("status %d: %v", status, err)
		}
		if err != nil && (!errors.Is(err, ErrCheckFailed) || !strings.Contains(err.Error(), "words")) {
			t.Errorf("status %d: %v", status, err)
		}
	}
	if err := runCheck(t.Context(), "no-such-program-here"); !errors.Is(err, ErrCheckFailed) {
		t.Errorf("a program that is missing: %v", err)
	}
	err := runCheck(t.Context(), "sh", "-c", "yes | head -c 100000; exit 4")
	if err == nil || len(err.Error()) > 2000 {
		t.Errorf("the output is not cut: %.100v", err)
	}
}

func TestCheckEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := runCheck(ctx, "sleep", "60")
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrCheckFailed) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestUsageAndInspectOfAPlainDirectory(t *testing.T) {
	directory, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer directory.Close()
	point, err := Inspect(directory)
	if err != nil || point != (MountPoint{}) {
		t.Errorf("a plain directory: %+v, %v", point, err)
	}
	usage, err := ReadUsage(directory)
	if err != nil || usage.TotalBytes <= 0 || usage.UsedBytes+usage.AvailableBytes > usage.TotalBytes {
		t.Errorf("usage is %+v, %v", usage, err)
	}
	// Not the root directory, which in a chroot is none.
	proc, err := os.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	if point, err := Inspect(proc); err != nil || !point.Mounted || point.ID == 0 {
		t.Errorf("the directory /proc: %+v, %v", point, err)
	}
}
