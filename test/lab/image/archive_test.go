package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// readTar returns the headers by name, and the content of regular files.
func readTar(t *testing.T, archive []byte) (map[string]*tar.Header, map[string][]byte) {
	t.Helper()
	headers, contents := make(map[string]*tar.Header), make(map[string][]byte)
	reader := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return headers, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		if headers[header.Name] != nil {
			t.Errorf("%s is there twice", header.Name)
		}
		headers[header.Name] = header
		if contents[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}

func TestArchive(t *testing.T) {
	folder := t.TempDir()
	program := filepath.Join(folder, "program")
	if err := os.WriteFile(program, []byte("binary"), 0o755); err != nil {
		t.Fatal(err)
	}
	image := Image{
		Reference:  "example.org/a/b:1",
		Files:      []File{{Path: "/usr/bin/b", Source: program}, {Path: "/bin", Link: "usr/bin"}, {Path: "/etc/b", Content: "text"}, {Path: "/tmp/x", Content: "y"}},
		Entrypoint: []string{"/usr/bin/b"}, Environment: []string{"A=B"}, User: "65535",
	}
	file := filepath.Join(folder, "image.tar")
	if err := Archive(image, file); err != nil {
		t.Fatal(err)
	}
	archive, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, outer := readTar(t, archive)

	var manifest []manifestEntry
	if err := json.Unmarshal(outer["manifest.json"], &manifest); err != nil || len(manifest) != 1 || len(manifest[0].Layers) != 1 {
		t.Fatalf("manifest %s: %v", outer["manifest.json"], err)
	}
	if tags := manifest[0].RepoTags; len(tags) != 1 || tags[0] != image.Reference {
		t.Errorf("tags are %v", tags)
	}
	var config imageConfig
	if err := json.Unmarshal(outer[manifest[0].Config], &config); err != nil {
		t.Fatalf("configuration %q: %v", manifest[0].Config, err)
	}
	if config.Config.Entrypoint[0] != "/usr/bin/b" || config.Config.Env[0] != "A=B" || config.Config.User != "65535" || config.OS != "linux" {
		t.Errorf("configuration is %+v", config)
	}
	layer := outer[manifest[0].Layers[0]]
	sum := sha256.Sum256(layer)
	if ids := config.RootFS.DiffIDs; len(ids) != 1 || ids[0] != "sha256:"+hex.EncodeToString(sum[:]) {
		t.Errorf("diff ids are %v, the layer has %x", ids, sum)
	}

	headers, contents := readTar(t, layer)
	if h := headers["usr/bin/b"]; h == nil || h.Mode != 0o755 || string(contents["usr/bin/b"]) != "binary" {
		t.Errorf("usr/bin/b: %+v", h)
	}
	if h := headers["bin"]; h == nil || h.Typeflag != tar.TypeSymlink || h.Linkname != "usr/bin" {
		t.Errorf("bin: %+v", h)
	}
	if h := headers["etc/b"]; h == nil || h.Mode != 0o644 || string(contents["etc/b"]) != "text" {
		t.Errorf("etc/b: %+v", h)
	}
	if h := headers["usr/"]; h == nil || h.Typeflag != tar.TypeDir || h.Mode != 0o755 {
		t.Errorf("usr/: %+v", h)
	}
	if h := headers["tmp/"]; h == nil || h.Mode != 0o1777 {
		t.Errorf("tmp/: %+v", h)
	}

	again := filepath.Join(folder, "again.tar")
	if err := Archive(image, again); err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(again); err != nil || !bytes.Equal(second, archive) {
		t.Errorf("the same image made other bytes (%v)", err)
	}
}

// TestArchiveFails: an image that cannot be made leaves nothing behind.
func TestArchiveFails(t *testing.T) {
	for name, file := range map[string]File{
		"relative path":  {Path: "bin/b", Content: "x"},
		"missing source": {Path: "/bin/b", Source: "/no/such/file"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := Archive(Image{Reference: "a:b", Files: []File{file}}, filepath.Join(folder, "image.tar")); err == nil {
				t.Error("the image was made")
			}
			if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// TestKey: the key follows the content of files, so that a cached archive is never one of an earlier program.
func TestKey(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	keyWith := func(content string) string {
		t.Helper()
		if err := os.WriteFile(program, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		key, err := Image{Reference: "a:b", Files: []File{{Path: "/b", Source: program}}}.key()
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	first := keyWith("one")
	if second := keyWith("two"); second == first {
		t.Error("the key is the same for another program")
	}
	if again := keyWith("one"); again != first {
		t.Error("the key differs for the same program")
	}
}
