package layers

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// parsedImage is the one image of a docker-archive.
type parsedImage struct {
	rawConfig []byte
	config    config
	// layers are uncompressed, so that a layer's digest is its diff id.
	layers []*io.SectionReader
}

// config is the part of an image's configuration (image-spec, config.md) that matters here.
type config struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	RootFS       rootFS `json:"rootfs"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// dockerManifest is an entry of manifest.json.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// descriptor names a blob (image-spec, descriptor.md).
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// manifest is an image manifest or, without config and layers, an index (image-spec, manifest.md and image-index.md).
type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        *descriptor  `json:"config,omitempty"`
	Layers        []descriptor `json:"layers,omitempty"`
	Manifests     []descriptor `json:"manifests,omitempty"`
}

const (
	mediaTypeIndex    = "application/vnd.oci.image.index.v1+json"
	mediaTypeManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaTypeConfig   = "application/vnd.oci.image.config.v1+json"
	mediaTypeLayer    = "application/vnd.oci.image.layer.v1.tar"

	// annotationName is where containerd's import looks for an image's full name.
	annotationName = "io.containerd.image.name"
)

func (f *archiveFiles) image() (*parsedImage, error) {
	var manifests []dockerManifest
	if _, err := f.read("manifest.json", &manifests); err != nil {
		return nil, err
	}
	if len(manifests) != 1 {
		return nil, fmt.Errorf("%s has %d images: want one", f.file.Name(), len(manifests))
	}
	image := &parsedImage{}
	var err error
	if image.rawConfig, err = f.read(manifests[0].Config, &image.config); err != nil {
		return nil, err
	}
	for _, name := range manifests[0].Layers {
		layer, found := f.members[name]
		if !found {
			return nil, fmt.Errorf("%s has no layer %s", f.file.Name(), name)
		}
		image.layers = append(image.layers, layer)
	}
	if len(image.layers) != len(image.config.RootFS.DiffIDs) {
		return nil, fmt.Errorf("%s has %d layers and %d diff ids", f.file.Name(), len(image.layers), len(image.config.RootFS.DiffIDs))
	}
	return image, nil
}

// writeBase writes a docker-archive of all layers but the last.
func (f *archiveFiles) writeBase(w *tar.Writer, image *parsedImage, reference string) error {
	last := len(image.layers) - 1
	base := image.config
	base.RootFS.DiffIDs = base.RootFS.DiffIDs[:last]
	raw, err := json.Marshal(base)
	if err != nil {
		return err
	}
	entry := dockerManifest{Config: digestOf(raw)[len("sha256:"):] + ".json", RepoTags: []string{reference}}
	for index, layer := range image.layers[:last] {
		name := strings.TrimPrefix(base.RootFS.DiffIDs[index], "sha256:") + ".tar"
		if err := writeMember(w, name, io.NewSectionReader(layer, 0, layer.Size()), layer.Size()); err != nil {
			return err
		}
		entry.Layers = append(entry.Layers, name)
	}
	if err := writeMember(w, entry.Config, strings.NewReader(string(raw)), int64(len(raw))); err != nil {
		return err
	}
	return writeJSON(w, "manifest.json", []dockerManifest{entry})
}

// writeTop writes an OCI image layout of the image with no layer's blob but the last.
func (f *archiveFiles) writeTop(w *tar.Writer, image *parsedImage, reference string) error {
	all := manifest{SchemaVersion: 2, MediaType: mediaTypeManifest, Config: &descriptor{
		MediaType: mediaTypeConfig, Digest: digestOf(image.rawConfig), Size: int64(len(image.rawConfig)),
	}}
	for index, layer := range image.layers {
		all.Layers = append(all.Layers, descriptor{MediaType: mediaTypeLayer, Digest: image.config.RootFS.DiffIDs[index], Size: layer.Size()})
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if err := writeJSON(w, "oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}); err != nil {
		return err
	}
	last := len(image.layers) - 1
	layer := image.layers[last]
	if err := writeMember(w, blob(all.Layers[last].Digest), io.NewSectionReader(layer, 0, layer.Size()), layer.Size()); err != nil {
		return err
	}
	for _, content := range [][]byte{image.rawConfig, raw} {
		if err := writeMember(w, blob(digestOf(content)), strings.NewReader(string(content)), int64(len(content))); err != nil {
			return err
		}
	}
	return writeJSON(w, "index.json", manifest{SchemaVersion: 2, MediaType: mediaTypeIndex, Manifests: []descriptor{{
		MediaType: mediaTypeManifest, Digest: digestOf(raw), Size: int64(len(raw)), Annotations: map[string]string{annotationName: reference},
	}}})
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func blob(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }

func writeJSON(w *tar.Writer, name string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return writeMember(w, name, strings.NewReader(string(raw)), int64(len(raw)))
}

func writeMember(w *tar.Writer, name string, content io.Reader, size int64) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size}); err != nil {
		return err
	}
	_, err := io.Copy(w, content)
	return err
}
