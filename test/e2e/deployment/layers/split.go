// Package layers splits an image so that its last layer, the driver's binary, can be loaded without all that is below it.
//
// Loading the node's image takes a node of the lab the better part of a minute, most of it for Debian's files, which do not change
// with the driver. [Split] makes two archives of a docker-archive ("docker save"): a base with all layers but the last, and a top
// with the last layer and a manifest of all. The top is an OCI image layout (image-spec, image-layout.md) with blobs left out that
// a node has by then: containerd looks for a layer's blob only where it has not unpacked it.
package layers

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
)

// Parts are the two archives of an image.
type Parts struct {
	// Base is loaded first, and once for all images with the same layers.
	Base string
	// BaseReference is the name that the base is loaded under.
	BaseReference string
	// Top is the archive of the image itself.
	Top string
}

// Split splits the docker-archive of one image into folder, under the given reference. The base's name is baseRepository with a
// tag that stands for its layers. Parts that are there already are taken as they are.
func Split(archive, reference, baseRepository, folder string) (Parts, error) {
	files, err := open(archive)
	if err != nil {
		return Parts{}, err
	}
	defer files.close()
	image, err := files.image()
	if err != nil {
		return Parts{}, err
	}
	last := len(image.layers) - 1
	if last < 1 {
		return Parts{}, fmt.Errorf("%s has %d layers: nothing to split", archive, len(image.layers))
	}
	baseKey, key := keyOf(image.config.RootFS.DiffIDs[:last]), keyOf(append(image.config.RootFS.DiffIDs, reference, string(image.rawConfig)))
	parts := Parts{
		Base:          filepath.Join(folder, "base-"+baseKey+".tar"),
		BaseReference: baseRepository + ":" + baseKey,
		Top:           filepath.Join(folder, "top-"+key+".tar"),
	}
	if err := unlessThere(parts.Base, func(w *tar.Writer) error { return files.writeBase(w, image, parts.BaseReference) }); err != nil {
		return Parts{}, err
	}
	// Tops of earlier binaries are of no use any more.
	old, err := filepath.Glob(filepath.Join(folder, "top-*.tar"))
	if err != nil {
		return Parts{}, err
	}
	for _, file := range old {
		if file != parts.Top {
			if err := os.Remove(file); err != nil {
				return Parts{}, err
			}
		}
	}
	return parts, unlessThere(parts.Top, func(w *tar.Writer) error { return files.writeTop(w, image, reference) })
}

// keyOf stands for texts in a name.
func keyOf(texts []string) string {
	sum := sha256.New()
	for _, text := range texts {
		fmt.Fprintf(sum, "%q\n", text)
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// unlessThere writes a tar file that appears under its name when it is complete.
func unlessThere(name string, write func(*tar.Writer) error) error {
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := os.Create(name + ".unfinished")
	if err != nil {
		return err
	}
	writer := tar.NewWriter(file)
	if err := errors.Join(write(writer), writer.Close(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return os.Rename(file.Name(), name)
}

// archiveFiles are the members of a docker-archive, by name, where they are in the file.
type archiveFiles struct {
	file    *os.File
	members map[string]*io.SectionReader
}

func open(name string) (*archiveFiles, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	files := &archiveFiles{file: file, members: map[string]*io.SectionReader{}}
	links := map[string]string{}
	for reader := tar.NewReader(file); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		offset, err := file.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		switch header.Typeflag {
		case tar.TypeReg:
			files.members[header.Name] = io.NewSectionReader(file, offset, header.Size)
		case tar.TypeSymlink:
			links[header.Name] = path.Join(path.Dir(header.Name), header.Linkname)
		}
	}
	for name, target := range links {
		if member, found := files.members[target]; found {
			files.members[name] = member
		}
	}
	return files, nil
}

func (f *archiveFiles) close() { _ = f.file.Close() }

func (f *archiveFiles) read(name string, into any) ([]byte, error) {
	member, found := f.members[name]
	if !found {
		return nil, fmt.Errorf("%s has no %s", f.file.Name(), name)
	}
	content, err := io.ReadAll(io.NewSectionReader(member, 0, member.Size()))
	if err != nil {
		return nil, err
	}
	return content, json.Unmarshal(content, into)
}
