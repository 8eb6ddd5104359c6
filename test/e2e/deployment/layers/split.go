// Package layers loads a new binary into an image without building and loading all that is below it.
//
// Building the node's image, and loading it into a node of the lab, takes the better part of a minute, most of it for Debian's
// files, which do not change with the driver. [Renew] takes a docker-archive ("docker save") that was built once of the project's
// Dockerfile, whose last layer is the binary and nothing else, and makes two archives: a base with all layers but the last, and a
// top with a last layer that has another binary, and a manifest of all. The top is an OCI image layout (image-spec,
// image-layout.md) with blobs left out that a node has by then: containerd looks for a layer's blob only where it has not
// unpacked it.
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

// Parts are the archives of an image.
type Parts struct {
	// Base is loaded first, and once for all images with the same layers. It is empty if there is nothing but the binary.
	Base string
	// BaseReference is the name that the base is loaded under.
	BaseReference string
	// Top is the archive of the image itself.
	Top string
}

// Renew puts program in the place of the binary of an image, and writes what is to be loaded into folder. The image gets the
// reference, which must stand for the program's content: a top of that name that is there already is taken as it is. The base's
// name is baseRepository with a tag that stands for its layers.
func Renew(archive, program, reference, baseRepository, folder string) (Parts, error) {
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
	if last < 0 {
		return Parts{}, fmt.Errorf("%s has no layers", archive)
	}
	baseKey := keyOf(image.config.RootFS.DiffIDs[:last])
	parts := Parts{Top: filepath.Join(folder, "top-"+keyOf([]string{baseKey, reference})+".tar")}
	if last > 0 {
		parts.Base, parts.BaseReference = filepath.Join(folder, "base-"+baseKey+".tar"), baseRepository+":"+baseKey
		if err := unlessThere(parts.Base, func(w *tar.Writer) error { return files.writeBase(w, image, parts.BaseReference) }); err != nil {
			return Parts{}, err
		}
	}
	return parts, unlessThere(parts.Top, func(w *tar.Writer) error {
		layer, err := renewLayer(image.layers[last], program, folder)
		if err != nil {
			return err
		}
		defer layer.remove()
		if err := image.replaceLast(layer); err != nil {
			return err
		}
		return files.writeTop(w, image, reference)
	})
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
