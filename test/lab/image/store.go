package image

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/csi-dm/csi-dm/test/lab/filelock"
)

// Builder builds images from Dockerfiles with buildah, in a store of its own that outlives it. Builders of one store, also in
// different processes, take turns.
type Builder struct {
	folder string
	report func(string)
}

// NewBuilder returns a Builder with its store below the cache folder. report gets a line when something takes long; it may be nil.
func NewBuilder(cache string, report func(string)) *Builder {
	if report == nil {
		report = func(string) {}
	}
	return &Builder{folder: filepath.Join(cache, "buildah"), report: report}
}

// trustAll is containers-policy.json(5) that accepts what is in the store: nothing is ever pulled into it.
const trustAll = `{"default":[{"type":"insecureAcceptAnything"}]}`

// lock makes the store usable and takes it until unlock is called.
func (b *Builder) lock(ctx context.Context) (unlock func(), err error) {
	for _, program := range []string{"buildah", "debootstrap"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%s is missing; install it with hack/install-debian.sh images", program)
		}
	}
	if err := os.MkdirAll(b.folder, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(b.policy(), []byte(trustAll), 0o644); err != nil {
		return nil, err
	}
	return filelock.Acquire(ctx, filepath.Join(b.folder, "lock"))
}

func (b *Builder) policy() string { return filepath.Join(b.folder, "policy.json") }

// buildah runs a command of buildah on the store and returns the last line of its output, which is an id for most.
func (b *Builder) buildah(ctx context.Context, command string, arguments ...string) (string, error) {
	output, err := b.output(ctx, command, arguments...)
	return lastLines(output, 1), err
}

// output runs a command of buildah on the store and returns what it prints.
func (b *Builder) output(ctx context.Context, command string, arguments ...string) (string, error) {
	global := []string{"--storage-driver", "vfs", "--root", filepath.Join(b.folder, "root"), "--runroot", filepath.Join(b.folder, "run"), command}
	switch command {
	case "from", "commit", "build", "push":
		global = append(global, "--signature-policy", b.policy())
	}
	process := exec.CommandContext(ctx, "buildah", append(global, arguments...)...)
	process.WaitDelay = 10 * time.Second
	var output, complaints bytes.Buffer
	process.Stdout, process.Stderr = &output, &complaints
	if err := process.Run(); err != nil {
		return "", fmt.Errorf("buildah %s: %w: %s", command, err, lastLines(output.String()+complaints.String(), 10))
	}
	return output.String(), nil
}

// prune removes all images but the bases and those of these names, together with the steps that led to nothing else: the
// store keeps a full copy of the files for each step.
func (b *Builder) prune(ctx context.Context, keep ...string) error {
	// Those of a build that was interrupted hold on to images. Nobody else builds: the store is locked.
	if _, err := b.output(ctx, "rm", "--all"); err != nil {
		return err
	}
	names, err := b.output(ctx, "images", "--format", "{{.Name}}:{{.Tag}}")
	if err != nil {
		return err
	}
	keep = append(keep, Debian, Go, debianKey, goKey())
	for _, name := range strings.Fields(names) {
		if slices.Contains(keep, name) || strings.Contains(name, "<none>") {
			continue
		}
		if _, err := b.output(ctx, "rmi", name); err != nil {
			return err
		}
	}
	_, err = b.output(ctx, "rmi", "--prune")
	return err
}

// has tells whether the store has an image of that name.
func (b *Builder) has(ctx context.Context, name string) bool {
	_, err := b.buildah(ctx, "inspect", "--type", "image", "--format", "{{.FromImageID}}", name)
	return err == nil
}

func lastLines(text string, count int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
