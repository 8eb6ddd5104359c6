package toolchain

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const tools = "../tools"

// TestVersions holds the versions in names and progress lines to what the modules really require.
func TestVersions(t *testing.T) {
	requirement := map[string]string{
		"kubernetes":      "k8s.io/kubernetes",
		"csi-provisioner": "github.com/kubernetes-csi/external-provisioner/v6",
		"csi-sidecars":    "github.com/kubernetes-csi/external-snapshotter/v8",
	}
	for _, s := range sets {
		if s.module == "" {
			continue
		}
		content, err := os.ReadFile(filepath.Join(tools, s.module, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		if want := requirement[s.name] + " " + s.version; requirement[s.name] == "" || !requires(string(content), want) {
			t.Errorf("%s: go.mod does not require %q", s.name, want)
		}
	}
}

// TestKey: the key changes with each thing that goes into a build, and with nothing else.
func TestKey(t *testing.T) {
	folder := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(folder, "m", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	key := func(s set) string {
		t.Helper()
		key, err := s.key(folder)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	base := set{name: "m", version: "v1", module: "m"}
	write("go.mod", "module m\n")
	write("main.go", "package main\n")
	first := key(base)
	if again := key(base); again != first {
		t.Errorf("key changed from %s to %s without a cause", first, again)
	}
	write("README.md", "of no consequence")
	if again := key(base); again != first {
		t.Error("key depends on a file that is not built")
	}
	seen := map[string]string{first: "base"}
	distinct := func(cause, key string) {
		t.Helper()
		if before, ok := seen[key]; ok {
			t.Errorf("%s has the key of %s", cause, before)
		}
		seen[key] = cause
	}
	distinct("version", key(set{name: "m", version: "v2", module: "m"}))
	distinct("linker variable", key(set{name: "m", version: "v1", module: "m", variables: []string{"a.b=c"}}))
	distinct("packages", key(set{name: "m", version: "v1", packages: []string{"example.org/a"}}))
	write("main.go", "package main // changed\n")
	distinct("main.go", key(base))
	write("go.sum", "x\n")
	distinct("go.sum", key(base))
}

func TestKeyOfMissingModule(t *testing.T) {
	if _, err := (set{name: "m", module: "missing"}).key(t.TempDir()); err == nil {
		t.Error("a set without its module got a key")
	}
}

// requires tells whether one of the file's lines is the requirement, whatever comment follows.
func requires(content, requirement string) bool {
	for _, line := range strings.Split(content, "\n") {
		line, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "require "), " //")
		if line == requirement {
			return true
		}
	}
	return false
}
