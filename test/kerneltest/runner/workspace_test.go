package runner

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWorkspace(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "parent")
	first, removeFirst, err := NewWorkspace(parent)
	if err != nil {
		t.Fatal(err)
	}
	abandoned := filepath.Join(parent, workspacePrefix+"abandoned")
	foreign := filepath.Join(parent, "foreign")
	for _, directory := range []string{abandoned, foreign} {
		if err := os.Mkdir(directory, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(directory, lockName), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	second, removeSecond, err := NewWorkspace(parent)
	if err != nil {
		t.Fatal(err)
	}
	for directory, want := range map[string]bool{first: true, second: true, foreign: true, abandoned: false} {
		if _, err := os.Stat(directory); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", directory, err, want)
		}
	}
	for _, remove := range []func() error{removeFirst, removeSecond} {
		if err := remove(); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}
