//go:build e2e

package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// standIn is a work tree with the project's real Dockerfile around a program of three lines.
func standIn(t *testing.T) string {
	t.Helper()
	dockerfile, err := os.ReadFile("../../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	ignore, err := os.ReadFile("../../../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, content := range map[string]string{
		"Dockerfile":             string(dockerfile),
		".dockerignore":          string(ignore),
		"go.mod":                 "module github.com/csi-dm/csi-dm\n\ngo 1.26\n",
		"go.sum":                 "",
		"api/doc.go":             "package api\n",
		"pkg/version/version.go": "package version\n\nvar version string\n\nfunc String() string { return version }\n",
		"cmd/csi-dm/main.go":     "package main\n\nimport \"github.com/csi-dm/csi-dm/pkg/version\"\n\nfunc main() { println(version.String()) }\n",
	} {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func testCache(t *testing.T) string {
	t.Helper()
	if cache := os.Getenv("CSI_DM_CACHE"); cache != "" {
		return cache
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(home, ".cache", "csi-dm")
}

// TestProduct builds both images in both ways and looks into them.
func TestProduct(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	source := standIn(t)
	for name, inside := range map[string]bool{"binary from outside": false, "compiled inside": true} {
		t.Run(name, func(t *testing.T) {
			builder := NewBuilder(testCache(t), func(line string) { t.Log(line) })
			product := Product{
				Source: source, Version: fmt.Sprintf("v0.0.%d", time.Now().UnixNano()), Controller: "csi-dm.local/stand-in-controller:test", Node: "csi-dm.local/stand-in-node:test", Inside: inside,
			}
			controller, node, err := builder.Product(ctx, product)
			if err != nil {
				t.Fatal(err)
			}
			files := imageFiles(t, controller, product.Controller)
			if !bytes.Contains(files["usr/bin/csi-dm"], []byte(product.Version)) {
				t.Errorf("the controller's binary does not hold the version %s", product.Version)
			}
			if files["bin/sh"] != nil || files["usr/bin/bash"] != nil {
				t.Error("the controller's image has a shell")
			}
			files = imageFiles(t, node, product.Node)
			for _, program := range []string{"usr/bin/csi-dm", "sbin/mkfs.ext4", "sbin/mkfs.xfs", "sbin/e2fsck"} {
				if files[program] == nil && files["usr/"+program] == nil {
					t.Errorf("the node's image has no %s", program)
				}
			}

			start := time.Now()
			again, _, err := builder.Product(ctx, product)
			if err != nil || again != controller {
				t.Errorf("the same product is %s, was %s, %v", again, controller, err)
			}
			t.Logf("unchanged: %s", time.Since(start).Round(10*time.Millisecond))
			if inside {
				return
			}
			// The store does not grow with each binary.
			before := images(ctx, t, builder)
			product.Version += "-next"
			if _, _, err := builder.Product(ctx, product); err != nil {
				t.Fatal(err)
			}
			if after := images(ctx, t, builder); after > before {
				t.Errorf("the store has %d images after one more build, had %d", after, before)
			}
		})
	}
}

// images counts the images of the store, those of single steps included.
func images(ctx context.Context, t *testing.T, builder *Builder) int {
	t.Helper()
	output, err := builder.output(ctx, "images", "--all", "--quiet")
	if err != nil {
		t.Fatal(err)
	}
	count := len(strings.Fields(output))
	if count == 0 {
		t.Fatal("the store has no images")
	}
	return count
}

// imageFiles returns the contents, or names for links, of all files of an archive's layers.
func imageFiles(t *testing.T, file, reference string) map[string][]byte {
	t.Helper()
	archive, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, outer := readTar(t, archive)
	var manifest []manifestEntry
	if err := json.Unmarshal(outer["manifest.json"], &manifest); err != nil || len(manifest) != 1 {
		t.Fatalf("manifest %s: %v", outer["manifest.json"], err)
	}
	if tags := manifest[0].RepoTags; len(tags) != 1 || tags[0] != reference {
		t.Errorf("tags are %v, want %s", tags, reference)
	}
	files := make(map[string][]byte)
	for _, layer := range manifest[0].Layers {
		reader := tar.NewReader(bytes.NewReader(outer[layer]))
		for {
			header, err := reader.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(reader)
			if err != nil {
				t.Fatal(err)
			}
			files[strings.TrimPrefix(header.Name, "./")] = append(content, header.Linkname...)
		}
	}
	return files
}
