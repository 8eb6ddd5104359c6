package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/csi-dm/csi-dm/test/lab/toolchain"
)

// References of the lab's images. Those of Kubernetes' projects are the ones a chart names by default.
const (
	Pause              = "registry.k8s.io/pause:3.10.1"
	Busybox            = "csi-dm.local/busybox:lab"
	CSIProvisioner     = "registry.k8s.io/sig-storage/csi-provisioner:v6.3.0"
	CSIResizer         = "registry.k8s.io/sig-storage/csi-resizer:v2.3.0"
	CSISnapshotter     = "registry.k8s.io/sig-storage/csi-snapshotter:v8.7.0"
	SnapshotController = "registry.k8s.io/sig-storage/snapshot-controller:v8.7.0"
)

// References returns the names of the lab's images.
func References() []string {
	return []string{Pause, Busybox, CSIProvisioner, CSIResizer, CSISnapshotter, SnapshotController}
}

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// busyboxProgram is from Debian's busybox-static.
const busyboxProgram = "/bin/busybox"

// Standard makes the lab's images that are not in folder yet and returns their archives, pause first.
func Standard(ctx context.Context, tools *toolchain.Toolchain, folder string) ([]string, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	busybox, err := busyboxImage(ctx)
	if err != nil {
		return nil, err
	}
	images := []Image{
		program(Pause, tools.Own("pause"), "65535:65535"),
		busybox,
		program(CSIProvisioner, tools.Program("csi-provisioner", "csi-provisioner"), ""),
		program(CSIResizer, tools.Program("csi-sidecars", "csi-resizer"), ""),
		program(CSISnapshotter, tools.Program("csi-sidecars", "csi-snapshotter"), ""),
		program(SnapshotController, tools.Program("csi-sidecars", "snapshot-controller"), ""),
	}
	archives := make([]string, 0, len(images))
	for _, image := range images {
		archive, err := cached(image, folder)
		if err != nil {
			return nil, err
		}
		archives = append(archives, archive)
	}
	return archives, nil
}

// program is an image of one static program, at the place where the official image has it.
func program(reference, source, user string) Image {
	name := "/" + filepath.Base(source)
	return Image{
		Reference: reference, Files: []File{{Path: name, Source: source}}, Entrypoint: []string{name},
		Environment: []string{searchPath}, User: user,
	}
}

// busyboxImage has a shell and the usual commands as links to one program.
func busyboxImage(ctx context.Context) (Image, error) {
	output, err := exec.CommandContext(ctx, busyboxProgram, "--list").Output()
	if err != nil {
		return Image{}, fmt.Errorf("%s (Debian's package busybox-static has it): %w", busyboxProgram, err)
	}
	files := []File{
		{Path: "/bin/busybox", Source: busyboxProgram},
		{Path: "/etc/passwd", Content: "root:x:0:0:root:/root:/bin/sh\n"},
		{Path: "/etc/group", Content: "root:x:0:\n"},
	}
	for _, name := range strings.Fields(string(output)) {
		if name != "busybox" {
			files = append(files, File{Path: "/bin/" + name, Link: "busybox"})
		}
	}
	return Image{Reference: Busybox, Files: files, Command: []string{"sh"}, Environment: []string{searchPath}}, nil
}

// cached returns the image's archive in folder, made now if there is none with this content.
func cached(image Image, folder string) (string, error) {
	key, err := image.key()
	if err != nil {
		return "", err
	}
	name := strings.NewReplacer("/", "_", ":", "_").Replace(image.Reference[strings.LastIndex(image.Reference, "/")+1:])
	archive := filepath.Join(folder, name+"-"+key+".tar")
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	return archive, Archive(image, archive)
}

// key identifies an image by everything that goes into it.
func (i Image) key() (string, error) {
	digest := sha256.New()
	fmt.Fprintf(digest, "%q %q %q %q %q\n", i.Reference, i.Entrypoint, i.Command, i.Environment, i.User)
	for _, file := range i.Files {
		fmt.Fprintf(digest, "%q %q %q\n", file.Path, file.Link, file.Content)
		if file.Source == "" {
			continue
		}
		source, err := os.Open(file.Source)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(digest, source)
		if err := errors.Join(err, source.Close()); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(digest.Sum(nil))[:12], nil
}
