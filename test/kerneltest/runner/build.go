package runner

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// guestProgram is the import path of process 1.
const guestProgram = "github.com/csi-dm/csi-dm/test/kerneltest/cmd/kernel-guest"

// buildGuest builds process 1 into the directory, static: a guest with another root finds no libraries.
func buildGuest(ctx context.Context, directory string) (string, error) {
	binary := filepath.Join(directory, "kernel-guest")
	command := exec.CommandContext(ctx, "go", "build", "-o", binary, guestProgram)
	command.Env = append(command.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", guestProgram, err, output)
	}
	return binary, nil
}

// buildTests builds the packages' test binaries, in order of packages. The go command builds several packages at a time
// only if their last elements differ, since it names the binaries by these.
func buildTests(ctx context.Context, packages []testPackage, directory string) ([]string, error) {
	result := make([]string, len(packages))
	for round := 0; ; round++ {
		folder := filepath.Join(directory, fmt.Sprintf("round-%d", round)) + "/"
		arguments := []string{"test", "-c", "-cover", "-tags", buildTag, "-o", folder}
		taken := make(map[string]bool)
		for i, candidate := range packages {
			name := filepath.Base(candidate.ImportPath) + ".test"
			if result[i] == "" && !taken[name] {
				taken[name] = true
				result[i] = folder + name
				arguments = append(arguments, candidate.ImportPath)
			}
		}
		if len(taken) == 0 {
			return result, nil
		}
		if _, err := goCommand(ctx, arguments...); err != nil {
			return nil, err
		}
	}
}
