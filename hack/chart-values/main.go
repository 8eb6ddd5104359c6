// Command chart-values writes the table of the chart's values, from the comments of values.yaml, into the chart's README
// between two marks.
//
//	go run ./hack/chart-values charts/csi-dm
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

const (
	begin = "<!-- values: begin, generated from values.yaml -->\n"
	end   = "<!-- values: end -->\n"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: chart-values CHART")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "chart-values:", err)
		os.Exit(1)
	}
}

func run(chart string) error {
	values, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		return err
	}
	readme := filepath.Join(chart, "README.md")
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	table, err := Table(values)
	if err != nil {
		return err
	}
	before, rest, found := bytes.Cut(text, []byte(begin))
	_, after, closed := bytes.Cut(rest, []byte(end))
	if !found || !closed {
		return fmt.Errorf("%s lacks the marks %q and %q", readme, begin, end)
	}
	return os.WriteFile(readme, bytes.Join([][]byte{before, []byte(begin), table, []byte(end), after}, nil), 0o644)
}
