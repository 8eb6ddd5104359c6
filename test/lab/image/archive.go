package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
)

// File is a file of an image.
type File struct {
	// Path is the absolute path in the image.
	Path string
	// Source is the path of the file on the host whose content and mode are copied.
	Source string
	// Link makes the file a symbolic link to this target instead.
	Link string
	// Content makes it a file with this content, readable for all, instead.
	Content string
}

// Image is an image to be made.
type Image struct {
	// Reference is the full name with a tag: registry.k8s.io/pause:3.10.
	Reference  string
	Files      []File
	Entrypoint []string
	Command    []string
	// Environment has words KEY=VALUE.
	Environment []string
	// User is a name or number; empty means root.
	User string
}

// Archive writes the image to file as a docker-archive with a single layer. The same image makes the same bytes. The file
// appears under its name only when it is complete.
func Archive(image Image, file string) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(file), ".image-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name())
			err = fmt.Errorf("image %s: %w", image.Reference, err)
		}
	}()
	layer, err := os.CreateTemp(filepath.Dir(file), ".layer-")
	if err != nil {
		return errors.Join(err, temporary.Close())
	}
	defer os.Remove(layer.Name())
	err = errors.Join(writeImage(temporary, layer, image), layer.Close(), temporary.Chmod(0o644), temporary.Close())
	if err != nil {
		return err
	}
	return os.Rename(temporary.Name(), file)
}

func writeImage(archive, layer *os.File, image Image) error {
	digest := sha256.New()
	if err := writeLayer(io.MultiWriter(layer, digest), image.Files); err != nil {
		return err
	}
	sum := hex.EncodeToString(digest.Sum(nil))
	config, err := json.Marshal(imageConfig{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Config: containerConfig{
			Entrypoint: image.Entrypoint, Cmd: image.Command, Env: image.Environment, User: image.User, WorkingDir: "/",
		},
		RootFS: rootFS{Type: "layers", DiffIDs: []string{"sha256:" + sum}},
	})
	if err != nil {
		return err
	}
	configSum := sha256.Sum256(config)
	configName := hex.EncodeToString(configSum[:]) + ".json"
	manifest, err := json.Marshal([]manifestEntry{{Config: configName, RepoTags: []string{image.Reference}, Layers: []string{sum + "/layer.tar"}}})
	if err != nil {
		return err
	}
	writer := tar.NewWriter(archive)
	size, err := layer.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := layer.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := writeEntry(writer, sum+"/layer.tar", 0o644, size, layer); err != nil {
		return err
	}
	if err := writeEntry(writer, configName, 0o644, int64(len(config)), bytes.NewReader(config)); err != nil {
		return err
	}
	if err := writeEntry(writer, "manifest.json", 0o644, int64(len(manifest)), bytes.NewReader(manifest)); err != nil {
		return err
	}
	return writer.Close()
}

// writeLayer writes the files and the folders above them, in order of path.
func writeLayer(layer io.Writer, files []File) error {
	files = append([]File(nil), files...)
	sort.Slice(files, func(i, j int) bool { return files[i].Path < files[j].Path })
	writer := tar.NewWriter(layer)
	made := map[string]bool{".": true}
	for _, file := range files {
		if !path.IsAbs(file.Path) {
			return fmt.Errorf("file %q: want an absolute path", file.Path)
		}
		name := strings.TrimPrefix(path.Clean(file.Path), "/")
		if err := writeFolders(writer, path.Dir(name), made); err != nil {
			return err
		}
		if err := writeFile(writer, name, file); err != nil {
			return err
		}
	}
	return writer.Close()
}

func writeFolders(writer *tar.Writer, folder string, made map[string]bool) error {
	if made[folder] {
		return nil
	}
	if err := writeFolders(writer, path.Dir(folder), made); err != nil {
		return err
	}
	made[folder] = true
	return writer.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: folder + "/", Mode: folderMode(folder)})
}

func folderMode(folder string) int64 {
	if folder == "tmp" {
		return 0o1777
	}
	return 0o755
}

func writeFile(writer *tar.Writer, name string, file File) error {
	if file.Link != "" {
		return writer.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: file.Link, Mode: 0o777})
	}
	if file.Content != "" {
		return writeEntry(writer, name, 0o644, int64(len(file.Content)), strings.NewReader(file.Content))
	}
	source, err := os.Open(file.Source)
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	return writeEntry(writer, name, int64(info.Mode().Perm()), info.Size(), source)
}

func writeEntry(writer *tar.Writer, name string, mode, size int64, content io.Reader) error {
	if err := writer.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size}); err != nil {
		return err
	}
	_, err := io.Copy(writer, content)
	return err
}
