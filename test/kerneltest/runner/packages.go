package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// buildTag is the tag of kernel tests, kernelTestSuffix the end of their files' names.
const (
	buildTag         = "kernel"
	kernelTestSuffix = "_kernel_test.go"
)

// testPackage is a package with kernel tests.
type testPackage struct {
	ImportPath   string
	Dir          string
	TestGoFiles  []string
	XTestGoFiles []string
}

func (p testPackage) hasKernelTests() bool {
	return slices.ContainsFunc(slices.Concat(p.TestGoFiles, p.XTestGoFiles), func(file string) bool {
		return strings.HasSuffix(file, kernelTestSuffix)
	})
}

// testCode is the size of the package's test code in bytes: a guess at how long its tests take compared with others'.
func (p testPackage) testCode() (size int64) {
	for _, file := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
		if info, err := os.Stat(filepath.Join(p.Dir, file)); err == nil {
			size += info.Size()
		}
	}
	return size
}

// findPackages returns the packages below the patterns that have kernel tests.
func findPackages(ctx context.Context, patterns []string) ([]testPackage, error) {
	var result []testPackage
	seen := make(map[string]bool)
	for _, pattern := range patterns {
		listed, err := list(ctx, pattern)
		if err != nil {
			return nil, err
		}
		for _, candidate := range listed {
			switch {
			case candidate.hasKernelTests():
				if !seen[candidate.ImportPath] {
					seen[candidate.ImportPath] = true
					result = append(result, candidate)
				}
			case !strings.Contains(pattern, "..."):
				return nil, fmt.Errorf("%w: %s has no file *%s with build tag %s", ErrNoKernelTests, pattern, kernelTestSuffix, buildTag)
			}
		}
	}
	if len(result) == 0 {
		return nil, fmt.Errorf("%w: below %s", ErrNoKernelTests, strings.Join(patterns, " "))
	}
	return result, nil
}

func list(ctx context.Context, pattern string) ([]testPackage, error) {
	output, err := goCommand(ctx, "list", "-tags", buildTag, "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles", "--", pattern)
	if err != nil {
		return nil, err
	}
	var result []testPackage
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var one testPackage
		switch err := decoder.Decode(&one); {
		case errors.Is(err, io.EOF):
			return result, nil
		case err != nil:
			return nil, fmt.Errorf("go list: %w", err)
		}
		result = append(result, one)
	}
}

// goCommand runs the go command and returns its standard output.
func goCommand(ctx context.Context, arguments ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, "go", arguments...)
	var complaints bytes.Buffer
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s%s", arguments[0], err, output, complaints.Bytes())
	}
	return output, nil
}
