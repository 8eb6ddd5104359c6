package layers

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// member is a file of a tar archive.
type member struct{ name, content string }

func tarOf(t *testing.T, members ...member) string {
	t.Helper()
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for _, m := range members {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: m.name, Mode: 0o755, Size: int64(len(m.content))}
		if m.content == "" {
			header.Typeflag = tar.TypeDir
		}
		if err := writer.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(writer, m.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.String()
}

func untar(t *testing.T, content string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for reader := tar.NewReader(bytes.NewReader([]byte(content))); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(body)
	}
}

// saved writes a docker-archive with the given layers.
func saved(t *testing.T, folder string, layers ...string) string {
	t.Helper()
	c := map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{"Entrypoint": []string{"/usr/bin/csi-dm"}},
		"rootfs": rootFS{Type: "layers"},
	}
	diffIDs, entry := []string{}, dockerManifest{Config: "config.json", RepoTags: []string{"x:y"}}
	var members []member
	for index, layer := range layers {
		name := string(rune('a'+index)) + ".tar"
		diffIDs, entry.Layers = append(diffIDs, digestOf([]byte(layer))), append(entry.Layers, name)
		members = append(members, member{name, layer})
	}
	c["rootfs"] = rootFS{Type: "layers", DiffIDs: diffIDs}
	for name, value := range map[string]any{"config.json": c, "manifest.json": []dockerManifest{entry}} {
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, member{name, string(raw)})
	}
	file := filepath.Join(folder, "saved.tar")
	if err := os.WriteFile(file, []byte(tarOf(t, members...)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestRenew(t *testing.T) {
	folder := t.TempDir()
	debian := tarOf(t, member{"etc/", ""}, member{"etc/os-release", "Debian"})
	archive := saved(t, folder, debian, tarOf(t, member{"usr/bin/", ""}, member{"usr/bin/csi-dm", "old"}))
	program := filepath.Join(folder, "program")
	if err := os.WriteFile(program, []byte("a newer one"), 0o600); err != nil {
		t.Fatal(err)
	}
	parts, err := Renew(archive, program, "name:tag", "name-base", folder)
	if err != nil {
		t.Fatal(err)
	}

	base := untar(t, readFile(t, parts.Base))
	var entries []dockerManifest
	if err := json.Unmarshal([]byte(base["manifest.json"]), &entries); err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].RepoTags[0] != parts.BaseReference || len(entries[0].Layers) != 1 || base[entries[0].Layers[0]] != debian {
		t.Errorf("the base is %+v", entries)
	}

	top := untar(t, readFile(t, parts.Top))
	var index, all manifest
	if err := json.Unmarshal([]byte(top["index.json"]), &index); err != nil {
		t.Fatal(err)
	}
	if index.Manifests[0].Annotations[annotationName] != "name:tag" {
		t.Errorf("the index is %+v", index)
	}
	if err := json.Unmarshal([]byte(top[blob(index.Manifests[0].Digest)]), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Layers) != 2 || all.Layers[0].Digest != digestOf([]byte(debian)) || top[blob(all.Layers[0].Digest)] != "" {
		t.Errorf("the layers are %+v", all.Layers)
	}
	layer := top[blob(all.Layers[1].Digest)]
	if digestOf([]byte(layer)) != all.Layers[1].Digest || int64(len(layer)) != all.Layers[1].Size {
		t.Error("the last layer is not what its descriptor says")
	}
	if got := untar(t, layer)["usr/bin/csi-dm"]; got != "a newer one" {
		t.Errorf("the binary is %q", got)
	}
	var settings struct {
		Config struct{ Entrypoint []string }
		RootFS rootFS `json:"rootfs"`
	}
	raw := top[blob(all.Config.Digest)]
	if err := json.Unmarshal([]byte(raw), &settings); err != nil {
		t.Fatal(err)
	}
	if digestOf([]byte(raw)) != all.Config.Digest || settings.RootFS.DiffIDs[1] != all.Layers[1].Digest || len(settings.Config.Entrypoint) != 1 {
		t.Errorf("the configuration is %s", raw)
	}
}

func TestRenewRefusesOtherLayers(t *testing.T) {
	for name, layer := range map[string]string{
		"two files": tarOf(t, member{"a", "a"}, member{"b", "b"}), "no file": tarOf(t, member{"a/", ""}),
	} {
		folder := t.TempDir()
		if parts, err := Renew(saved(t, folder, layer), "/dev/null", "name:tag", "base", folder); err == nil {
			t.Errorf("%s: %+v", name, parts)
		}
	}
}
