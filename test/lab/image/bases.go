package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Names of the base images, those that the project's Dockerfile begins with.
const (
	Debian = "docker.io/library/debian:bookworm-slim"
	Go     = "docker.io/library/golang:1.26-bookworm"
)

const (
	debianSuite = "bookworm"
	// debianVersion rises with every change to how the base is made.
	debianVersion = "1"
	// goVersion is the version of Go that the name of the base promises.
	goVersion = "go1.26"
)

// debianKey and goKey name the bases by what they are made of.
const debianKey = "localhost/csi-dm-debian:" + debianSuite + "-" + debianVersion

func goKey() string {
	return "localhost/csi-dm-golang:" + runtime.Version() + "-" + debianSuite + "-" + debianVersion
}

// debian sees to it that the store has the base image Debian, made of Debian's essential packages and apt.
func (b *Builder) debian(ctx context.Context) error {
	key := debianKey
	if b.has(ctx, key) && b.has(ctx, Debian) {
		return nil
	}
	b.report("making the base image " + Debian + " of Debian packages")
	start := time.Now()
	folder, err := os.MkdirTemp(b.folder, "debian-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	root := filepath.Join(folder, "root")
	if err := debootstrap(ctx, root); err != nil {
		return err
	}
	archive := filepath.Join(folder, "root.tar")
	// What "slim" leaves out.
	arguments := []string{"--create", "--file", archive, "--directory", root, "--numeric-owner"}
	for _, left := range []string{"usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*", "usr/share/info/*", "var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*.log", "dev/*"} {
		arguments = append(arguments, "--exclude=./"+left)
	}
	if output, err := exec.CommandContext(ctx, "tar", append(arguments, ".")...).CombinedOutput(); err != nil {
		return fmt.Errorf("pack %s: %w: %s", Debian, err, lastLines(string(output), 3))
	}
	if err := b.commit(ctx, "scratch", key, func(container string) error {
		_, addErr := b.buildah(ctx, "add", container, archive, "/")
		_, configErr := b.buildah(ctx, "config", "--env", searchPath, "--cmd", "bash", container)
		return errors.Join(addErr, configErr)
	}); err != nil {
		return err
	}
	b.report(fmt.Sprintf("made %s in %s", Debian, time.Since(start).Round(time.Second)))
	_, err = b.buildah(ctx, "tag", key, Debian)
	return err
}

// debootstrap unpacks Debian into root. What it mounts for a moment is in a mount namespace of its own.
func debootstrap(ctx context.Context, root string) error {
	command := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", debianSuite, root)
	command.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	command.WaitDelay = 10 * time.Second
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("debootstrap: %w: %s", err, lastLines(string(output), 3))
	}
	return nil
}

// golang sees to it that the store has the base image Go: Debian and the Go that runs this.
func (b *Builder) golang(ctx context.Context) error {
	version := runtime.Version()
	if version != goVersion && !strings.HasPrefix(version, goVersion+".") {
		return fmt.Errorf("%s is to be made of this machine's Go, which is %s", Go, version)
	}
	key := goKey()
	if b.has(ctx, key) && b.has(ctx, Go) {
		return nil
	}
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	b.report("making the base image " + Go + " of this machine's " + version)
	if err := b.commit(ctx, Debian, key, func(container string) error {
		const target = "/usr/local/go"
		_, copyErr := b.buildah(ctx, "copy", container, strings.TrimSpace(string(root)), target)
		_, configErr := b.buildah(ctx, "config", "--env", "GOPATH=/go", "--env", "GOTOOLCHAIN=local",
			"--env", strings.Replace(searchPath, "PATH=", "PATH=/go/bin:"+target+"/bin:", 1), "--workingdir", "/go", container)
		return errors.Join(copyErr, configErr)
	}); err != nil {
		return err
	}
	_, err = b.buildah(ctx, "tag", key, Go)
	return err
}

// commit makes an image out of another and what change does to it.
func (b *Builder) commit(ctx context.Context, base, name string, change func(container string) error) error {
	container, err := b.buildah(ctx, "from", "--pull-never", base)
	if err != nil {
		return err
	}
	if err := change(container); err != nil {
		_, removeErr := b.buildah(context.WithoutCancel(ctx), "rm", container)
		return errors.Join(err, removeErr)
	}
	_, err = b.buildah(ctx, "commit", "--rm", container, name)
	return err
}
