package toolchain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// progressInterval is how often a build that takes long says so.
const progressInterval = 20 * time.Second

// build builds the set's programs into folder.
func (s set) build(ctx context.Context, tools, folder string, progress func(string)) error {
	title := s.name + " " + s.version
	var command *exec.Cmd
	if s.module == "" {
		arguments := []string{"install", "-trimpath", "-ldflags", s.linkerFlags()}
		for _, name := range s.packages {
			arguments = append(arguments, name+"@"+s.version)
		}
		command = exec.CommandContext(ctx, "go", arguments...)
		// A folder without a go.mod above it.
		command.Dir = folder
	} else {
		what, err := s.target(filepath.Join(tools, s.module))
		if err != nil {
			return err
		}
		command = exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", s.linkerFlags(), "-o", folder+"/", what)
		command.Dir = filepath.Join(tools, s.module)
	}
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOBIN="+folder)
	return run(command, title, progress)
}

// target is what go build gets: the module's tools if it names some, else its main package.
func (s set) target(folder string) (string, error) {
	content, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(content), "\n") {
		if strings.HasPrefix(line, "tool ") {
			return "tool", nil
		}
	}
	return ".", nil
}

// buildOwn builds the lab's own programs. It leaves the caching to the go command, which does not link again what is up to
// date, and replaces a program that runs by a new file.
func buildOwn(ctx context.Context, repository, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", folder+"/", "./test/lab/cmd/...", "./test/lab/image/pause")
	command.Dir = repository
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	return run(command, "the lab", func(string) {})
}

// run runs a build, reports progress until it ends, and turns a failure into the first lines it printed.
func run(command *exec.Cmd, title string, progress func(string)) error {
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 10 * time.Second
	start := time.Now()
	if err := command.Start(); err != nil {
		return fmt.Errorf("build %s: %w", title, err)
	}
	done := make(chan error, 1)
	go func() { done <- command.Wait() }()
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	progress("building " + title)
	for {
		select {
		case <-ticker.C:
			progress(fmt.Sprintf("building %s … %s", title, time.Since(start).Round(time.Second)))
		case err := <-done:
			if err != nil {
				return fmt.Errorf("build %s: %w: %s", title, err, firstLines(output.String(), 12))
			}
			progress(fmt.Sprintf("built %s in %s", title, time.Since(start).Round(time.Second)))
			return nil
		}
	}
}

// firstLines returns the first lines that are not about downloads.
func firstLines(text string, count int) string {
	var lines []string
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if !strings.HasPrefix(line, "go: downloading ") && len(lines) < count {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

const modulePath = "github.com/csi-dm/csi-dm"

// Repository returns the root of the csi-dm work tree that the current folder is in.
func Repository(ctx context.Context) (string, error) {
	output, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("go is not in PATH")
	}
	path, folder, _ := strings.Cut(strings.TrimSpace(string(output)), " ")
	if err != nil || path != modulePath {
		return "", errors.New("the lab is built from its sources: run it inside a checkout of csi-dm")
	}
	return folder, nil
}

// SnapshotCRDs returns the folder, with a kustomization, of the CustomResourceDefinitions that the snapshot controller of the
// set csi-sidecars goes by.
func SnapshotCRDs(ctx context.Context) (string, error) {
	repository, err := Repository(ctx)
	if err != nil {
		return "", err
	}
	const module = "github.com/kubernetes-csi/external-snapshotter/client/v8"
	command := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	command.Dir = filepath.Join(repository, "test", "lab", "tools", "csi-sidecars")
	command.Env = append(os.Environ(), "GOWORK=off")
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", module, err)
	}
	var download struct{ Dir string }
	if err := json.Unmarshal(output, &download); err != nil {
		return "", fmt.Errorf("go mod download: %w", err)
	}
	return filepath.Join(download.Dir, "config", "crd"), nil
}
