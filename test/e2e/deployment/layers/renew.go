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
)

// renewedLayer is an uncompressed layer in a temporary file.
type renewedLayer struct {
	file   *os.File
	size   int64
	digest string
}

func (l *renewedLayer) remove() { _ = errors.Join(l.file.Close(), os.Remove(l.file.Name())) }

// renewLayer makes a layer like the given one with the program in the place of its only file.
func renewLayer(layer *io.SectionReader, program, folder string) (*renewedLayer, error) {
	file, err := os.CreateTemp(folder, "layer-")
	if err != nil {
		return nil, err
	}
	renewed := &renewedLayer{file: file}
	digest := sha256.New()
	if err := copyLayer(io.MultiWriter(file, digest), layer, program); err != nil {
		renewed.remove()
		return nil, err
	}
	if renewed.size, err = file.Seek(0, io.SeekCurrent); err != nil {
		renewed.remove()
		return nil, err
	}
	renewed.digest = "sha256:" + hex.EncodeToString(digest.Sum(nil))
	return renewed, nil
}

func copyLayer(to io.Writer, layer *io.SectionReader, program string) error {
	source, err := os.Open(program)
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	writer, replaced := tar.NewWriter(to), 0
	for reader := tar.NewReader(io.NewSectionReader(layer, 0, layer.Size())); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if header.Typeflag == tar.TypeDir {
			if err := writer.WriteHeader(header); err != nil {
				return err
			}
			continue
		}
		if replaced++; header.Typeflag != tar.TypeReg || replaced > 1 {
			return fmt.Errorf("the last layer has %s: want one program and nothing else", header.Name)
		}
		header.Size = info.Size()
		if err := writer.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(writer, source); err != nil {
			return err
		}
	}
	if replaced != 1 {
		return errors.New("the last layer has no program")
	}
	return writer.Close()
}

// replaceLast gives the image another last layer.
func (i *parsedImage) replaceLast(layer *renewedLayer) error {
	last := len(i.layers) - 1
	i.layers[last] = io.NewSectionReader(layer.file, 0, layer.size)
	i.config.RootFS.DiffIDs[last] = layer.digest
	// All else that the configuration says stays.
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(i.rawConfig, &whole); err != nil {
		return err
	}
	var err error
	if whole["rootfs"], err = json.Marshal(i.config.RootFS); err != nil {
		return err
	}
	i.rawConfig, err = json.Marshal(whole)
	return err
}
