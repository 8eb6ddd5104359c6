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
	"sort"
	"strings"
	"time"
)

// Build is what to build of a Dockerfile.
type Build struct {
	// Context is the folder with the Dockerfile and all that it copies.
	Context string
	// Target is the stage to build.
	Target string
	// Reference is the full name, with a tag, of the image.
	Reference string
	// Arguments are the build's arguments.
	Arguments map[string]string
	// Volumes are folders of the host that commands of the build see, as HOST:CONTAINER.
	Volumes []string
}

// archive builds the image and writes it as a docker-archive. Steps that were done before are not done again.
func (b *Builder) archive(ctx context.Context, build Build, file string) error {
	arguments := []string{"--isolation", "chroot", "--pull-never", "--layers", "--target", build.Target, "--tag", build.Reference}
	for _, name := range sortedKeys(build.Arguments) {
		arguments = append(arguments, "--build-arg", name+"="+build.Arguments[name])
	}
	for _, volume := range build.Volumes {
		arguments = append(arguments, "--volume", volume)
	}
	if _, err := b.buildah(ctx, "build", append(arguments, build.Context)...); err != nil {
		return fmt.Errorf("build %s: %w", build.Reference, err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	// buildah writes into no archive that is there.
	temporary := file + ".unfinished"
	if err := os.RemoveAll(temporary); err != nil {
		return err
	}
	if _, err := b.buildah(ctx, "push", build.Reference, "docker-archive:"+temporary+":"+build.Reference); err != nil {
		return err
	}
	return os.Rename(temporary, file)
}

func sortedKeys(words map[string]string) []string {
	keys := make([]string, 0, len(words))
	for key := range words {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

// Product says which images of the project to build.
type Product struct {
	// Source is the root of the work tree, with the Dockerfile.
	Source string
	// Version is what the binary will call itself.
	Version string
	// Controller and Node are the full names, with tags, of the two images.
	Controller string
	Node       string
	// Inside compiles inside the build, as the Dockerfile's first stage says, with the host's Go caches lent to it. Else the binary is
	// compiled beforehand by the host's Go: the same program, and its compilation is not repeated.
	Inside bool
}

// Product builds the project's Dockerfile and returns the docker-archives of controller and node. Nothing is built of a
// binary, Dockerfile and names that were built before.
func (b *Builder) Product(ctx context.Context, product Product) (controller, node string, err error) {
	unlock, err := b.lock(ctx)
	if err != nil {
		return "", "", err
	}
	defer unlock()
	folder, err := os.MkdirTemp(b.folder, "context-")
	if err != nil {
		return "", "", err
	}
	defer os.RemoveAll(folder)
	build := Build{Context: folder, Arguments: map[string]string{"BINARY": "prebuilt"}}
	if product.Inside {
		// The stage is named although it is the default: buildah 1.28 looks for stages that are needed before it knows defaults.
		build = Build{Context: product.Source, Arguments: map[string]string{"BINARY": "compiled", "VERSION": product.Version}}
		if build.Volumes, err = goCaches(ctx); err != nil {
			return "", "", err
		}
	}
	key, err := product.prepare(ctx, folder)
	if err != nil {
		return "", "", err
	}
	archives, built := make([]string, 0, 2), false
	for _, image := range []struct{ target, reference string }{{"controller", product.Controller}, {"node", product.Node}} {
		build.Target, build.Reference = image.target, image.reference
		sum := sha256.Sum256([]byte(key + image.target + image.reference + fmt.Sprint(product.Inside) + debianVersion))
		file := filepath.Join(b.folder, "archives", image.target+"-"+hex.EncodeToString(sum[:6])+".tar")
		if _, err := os.Stat(file); err != nil {
			if err := b.product(ctx, product, build, file); err != nil {
				return "", "", err
			}
			built = true
		}
		archives = append(archives, file)
	}
	if built {
		if err := b.prune(ctx, product.Controller, product.Node); err != nil {
			return "", "", err
		}
	}
	return archives[0], archives[1], nil
}

func (b *Builder) product(ctx context.Context, product Product, build Build, file string) error {
	if err := b.debian(ctx); err != nil {
		return err
	}
	if product.Inside {
		if err := b.golang(ctx); err != nil {
			return err
		}
	}
	// Archives of earlier binaries are of no use any more.
	old, err := filepath.Glob(filepath.Join(filepath.Dir(file), build.Target+"-*.tar"))
	if err != nil {
		return err
	}
	for _, earlier := range old {
		if err := os.Remove(earlier); err != nil {
			return err
		}
	}
	b.report("building " + build.Reference)
	start := time.Now()
	if err := b.archive(ctx, build, file); err != nil {
		return err
	}
	b.report(fmt.Sprintf("built %s in %s", build.Reference, time.Since(start).Round(100*time.Millisecond)))
	return nil
}

// prepare makes the context of a build with a binary from outside, and returns a key for the binary and the Dockerfile.
func (p Product) prepare(ctx context.Context, folder string) (string, error) {
	binary := filepath.Join(folder, "bin", "csi-dm")
	flags := "-s -w -X github.com/csi-dm/csi-dm/pkg/version.version=" + p.Version
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", binary, "./cmd/csi-dm")
	command.Dir = p.Source
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build csi-dm: %w: %s", err, strings.TrimSpace(string(output)))
	}
	dockerfile, err := os.ReadFile(filepath.Join(p.Source, "Dockerfile"))
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(folder, "Dockerfile"), dockerfile, 0o644); err != nil {
		return "", err
	}
	program, err := os.Open(binary)
	if err != nil {
		return "", err
	}
	digest := sha256.New()
	_, err = io.Copy(digest, program)
	if err := errors.Join(err, program.Close()); err != nil {
		return "", err
	}
	_, _ = digest.Write(dockerfile)
	return hex.EncodeToString(digest.Sum(nil)), nil
}

// goCaches lends the host's module and build caches to the Go of a build.
func goCaches(ctx context.Context) ([]string, error) {
	output, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE", "GOCACHE").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	folders := strings.Fields(string(output))
	if len(folders) != 2 {
		return nil, fmt.Errorf("go env printed %q", output)
	}
	return []string{folders[0] + ":/go/pkg/mod", folders[1] + ":/root/.cache/go-build"}, nil
}
