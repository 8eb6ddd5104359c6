//go:build kernel

package filesystem

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestRootMode: the mode is there from the first moment, also of a mount that is read-only, and what its user makes of it stays.
func TestRootMode(t *testing.T) {
	kerneltest.CheckClean(t)
	const size = 512 << 20
	for _, format := range []Format{{Type: Ext4}, {Type: Ext4, Options: []string{"-O", "^has_journal"}}, {Type: XFS}} {
		t.Run(string(format.Type)+strings.Join(format.Options, " "), func(t *testing.T) {
			device := kerneltest.Disk(t, size)
			if err := Make(context.Background(), device, size, format); err != nil {
				t.Fatal(err)
			}
			directory, target := openTarget(t)
			mounted := func(mode RootMode, change func(), options ...string) os.FileMode {
				t.Helper()
				parsed, err := ParseMountOptions(format.Type, options)
				if err != nil {
					t.Fatal(err)
				}
				if err := Mount(device, format.Type, parsed.WithRootMode(mode), target); err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := Unmount(openPlace(t, filepath.Dir(directory)), filepath.Base(directory)); err != nil {
						t.Fatal(err)
					}
				}()
				if change != nil {
					change()
				}
				info, err := os.Stat(directory)
				if err != nil {
					t.Fatal(err)
				}
				return info.Mode() & (os.ModePerm | os.ModeSetgid | os.ModeSticky)
			}
			if mode := mounted(0, nil); mode != 0o755 {
				t.Errorf("asked for nothing, the mode is %v", mode)
			}
			mode := mounted(0o3770, func() {
				if err := os.WriteFile(filepath.Join(directory, "file"), nil, 0o600); err == nil {
					t.Error("a read-only mount takes writes")
				}
			}, "ro")
			if mode != 0o770|os.ModeSetgid|os.ModeSticky {
				t.Errorf("the mode is %v", mode)
			}
			changed := mounted(0o3770, func() {
				if err := os.Chmod(directory, 0o700); err != nil {
					t.Fatal(err)
				}
			})
			if again := mounted(0o3770, nil); changed != 0o700 || again != 0o700 {
				t.Errorf("a user made it %v, and after another mount it is %v", changed, again)
			}
			mounted(0, func() {
				value := make([]byte, 16)
				if n, err := unix.Getxattr(directory, rootModeMark, value); err != nil || string(value[:n]) != "3770" {
					t.Errorf("the mark is %q, %v", value[:max(n, 0)], err)
				}
			})
		})
	}
}
