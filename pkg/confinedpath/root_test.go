package confinedpath

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func newRoot(t *testing.T) (*Root, string) {
	t.Helper()
	directory := filepath.Join(t.TempDir(), "kubelet")
	if err := os.MkdirAll(filepath.Join(directory, "pods", "one"), 0o750); err != nil {
		t.Fatal(err)
	}
	root, err := OpenRoot(directory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root, directory
}

func TestPathsAsText(t *testing.T) {
	root, directory := newRoot(t)
	for name, path := range map[string]string{
		"empty":           "",
		"relative":        "pods/one",
		"itself":          directory,
		"itself, slash":   directory + "/",
		"dot dot":         directory + "/pods/../pods/one",
		"out by dot dot":  directory + "/../outside",
		"dot":             directory + "/./pods",
		"double slash":    directory + "//pods",
		"trailing slash":  directory + "/pods/",
		"elsewhere":       "/etc",
		"slash":           "/",
		"shares a prefix": directory + "-other/pods",
		"NUL":             directory + "/pods\x00/one",
		"too long":        directory + strings.Repeat("/x", 4096),
		"part too long":   directory + "/" + strings.Repeat("x", 256),
	} {
		t.Run(name, func(t *testing.T) {
			for call, err := range map[string]error{
				"Check":         root.Check(path),
				"Open":          second(root.Open(path)),
				"OpenParent":    third(root.OpenParent(path)),
				"MakeDirectory": second(root.MakeDirectory(path, 0o700)),
				"OpenFile":      second(root.OpenFile(path)),
				"MakeFile":      second(root.MakeFile(path, 0o700)),
				"Remove":        root.Remove(path),
			} {
				if !errors.Is(err, ErrNotAllowed) || len(err.Error()) > 1024 {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}
}

func TestSymbolicLinksInTheWay(t *testing.T) {
	root, directory := newRoot(t)
	outside := filepath.Join(filepath.Dir(directory), "outside")
	if err := os.MkdirAll(filepath.Join(outside, "inner"), 0o750); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"absolute": outside,
		"relative": "../../outside",
		"inside":   "one", // one that stays inside is as wrong: kubelet makes none
		"dangling": "nothing",
		"self":     "self",
		"proc":     "/proc/self/root",
	} {
		if err := os.Symlink(target, filepath.Join(directory, "pods", link)); err != nil {
			t.Fatal(err)
		}
		t.Run(link, func(t *testing.T) {
			last := filepath.Join(directory, "pods", link)
			for call, err := range map[string]error{
				"Open":                second(root.Open(last)),
				"Open below":          second(root.Open(last + "/inner")),
				"OpenParent below":    third(root.OpenParent(last + "/inner")),
				"MakeDirectory":       second(root.MakeDirectory(last, 0o700)),
				"MakeDirectory below": second(root.MakeDirectory(last+"/made", 0o700)),
				"OpenFile":            second(root.OpenFile(last)),
				"MakeFile":            second(root.MakeFile(last, 0o600)),
				"MakeFile below":      second(root.MakeFile(last+"/made", 0o600)),
				"Remove below":        root.Remove(last + "/inner"),
			} {
				if !errors.Is(err, ErrNotAllowed) {
					t.Errorf("%s: %v", call, err)
				}
			}
			if err := root.Remove(last); err == nil {
				t.Error("the link was removed")
			}
		})
	}
	for _, left := range []string{filepath.Join(outside, "inner"), filepath.Join(directory, "pods", "dangling")} {
		if _, err := os.Lstat(left); err != nil {
			t.Error(err)
		}
	}
	for _, made := range []string{filepath.Join(outside, "made"), filepath.Join(directory, "pods", "nothing")} {
		if _, err := os.Lstat(made); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was made through a link", made)
		}
	}
}

// A link that appears after Open changes nothing for the descriptor.
func TestDescriptorOutlivesItsPath(t *testing.T) {
	root, directory := newRoot(t)
	place := filepath.Join(directory, "pods", "one")
	file, err := root.Open(place)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := os.Rename(place, place+"-moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", place); err != nil {
		t.Fatal(err)
	}
	opened, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	moved, err := os.Stat(place + "-moved")
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(opened, moved) {
		t.Error("the descriptor stands for something else now")
	}
}

func TestDirectories(t *testing.T) {
	root, directory := newRoot(t)
	path := filepath.Join(directory, "pods", "one", "mount")
	if _, err := root.Open(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open of what does not exist: %v", err)
	}
	for range 2 {
		file, err := root.MakeDirectory(path, 0o750)
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&^0o750 != 0 {
		t.Errorf("made: %v, %v", info, err)
	}
	if _, err := root.MakeDirectory(filepath.Join(directory, "no", "such"), 0o750); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("MakeDirectory made what is above: %v", err)
	}
	for range 2 {
		if err := root.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := root.Remove(filepath.Join(directory, "pods")); err == nil {
		t.Error("a directory with content was removed")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := root.MakeDirectory(path, 0o750); err == nil {
		t.Error("a file passed for a directory")
	}
}

func TestFiles(t *testing.T) {
	root, directory := newRoot(t)
	path := filepath.Join(directory, "pods", "one", "device")
	if _, err := root.OpenFile(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("OpenFile of what does not exist: %v", err)
	}
	for range 2 {
		if err := second(root.MakeFile(path, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&^0o600 != 0 || info.Size() != 0 {
		t.Errorf("made: %v, %v", info, err)
	}
	if _, err := root.MakeFile(filepath.Join(directory, "no", "such"), 0o600); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("MakeFile made what is above: %v", err)
	}
	for call, err := range map[string]error{
		"OpenFile": second(root.OpenFile(filepath.Dir(path))), "MakeFile": second(root.MakeFile(filepath.Dir(path), 0o600)),
	} {
		if !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s of a directory: %v", call, err)
		}
	}
	for range 2 {
		if err := root.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := root.Remove(path); err == nil {
		t.Error("a file with content was removed")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := root.Remove(path); err == nil {
		t.Error("a pipe was removed")
	}
}

func FuzzRelative(f *testing.F) {
	for _, path := range []string{"/k/a", "/k/../a", "/k", "/k/a/./b", "k", "/k\x00"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		below, err := relative("/k", path)
		if err != nil {
			return
		}
		if !filepath.IsLocal(below) || below == "." || "/k/"+below != path {
			t.Errorf("%q passed as %q", path, below)
		}
	})
}

func second(file *os.File, err error) error {
	if file != nil {
		_ = file.Close()
	}
	return err
}

func third(file *os.File, _ string, err error) error { return second(file, err) }
