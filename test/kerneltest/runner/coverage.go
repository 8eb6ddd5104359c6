package runner

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// reportCoverage merges what the packages covered, shows the share of statements of each and of all, and writes a profile
// if one is wanted. Each package's tests count for that package.
func reportCoverage(ctx context.Context, directories []string, profile string, output io.Writer) error {
	var filled []string
	for _, directory := range directories {
		entries, err := os.ReadDir(directory)
		if err != nil {
			return err
		}
		if len(entries) > 0 {
			filled = append(filled, directory)
		}
	}
	if len(filled) == 0 {
		return nil // a panicking test binary leaves none
	}
	input := "-i=" + strings.Join(filled, ",")
	percent, err := goCommand(ctx, "tool", "covdata", "percent", input)
	if err != nil {
		return err
	}
	fmt.Fprintln(output, "coverage:")
	for line := range strings.Lines(string(percent)) {
		if fields := strings.Fields(line); len(fields) >= 3 {
			fmt.Fprintf(output, "  %6s %s\n", fields[2], fields[0])
		}
	}
	if profile == "" {
		profile = filepath.Join(filled[0], "profile")
	}
	if _, err := goCommand(ctx, "tool", "covdata", "textfmt", input, "-o="+profile); err != nil {
		return err
	}
	functions, err := goCommand(ctx, "tool", "cover", "-func="+profile)
	if err != nil {
		return err
	}
	if fields := strings.Fields(string(functions)); len(fields) > 0 {
		fmt.Fprintf(output, "  %6s total\n", fields[len(fields)-1])
	}
	return nil
}
