//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/csi-dm/csi-dm/test/bench"
)

// extractor takes what a run says: it passes it on as it comes and keeps it.
type extractor struct {
	progress io.Writer
	all      bytes.Buffer
}

func (e *extractor) Write(p []byte) (int, error) {
	e.all.Write(p)
	return e.progress.Write(p)
}

// document gives what the run printed for the document, with the marking lines and a description of the run.
func (e *extractor) document(description string) (string, error) {
	_, rest, begun := strings.Cut(e.all.String(), bench.DocumentBegin+"\n")
	body, _, ended := strings.Cut(rest, bench.DocumentEnd)
	if !begun || !ended {
		return "", errors.New("the run printed no tables")
	}
	return bench.DocumentBegin + "\n" + description + "\n" + body + bench.DocumentEnd + "\n", nil
}

// plot gives the plot that the run printed.
func (e *extractor) plot() (string, error) {
	_, rest, begun := strings.Cut(e.all.String(), bench.PlotBegin+"\n")
	body, _, ended := strings.Cut(rest, bench.PlotEnd)
	if !begun || !ended {
		return "", errors.New("the run printed no plot")
	}
	return body, nil
}

// replaceIn puts text in place of what is between the marking lines of a file, these included.
func replaceIn(path, text string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begun := strings.Cut(string(content), bench.DocumentBegin+"\n")
	_, after, ended := strings.Cut(rest, bench.DocumentEnd+"\n")
	if !begun || !ended {
		return fmt.Errorf("%s has no lines %q and %q", path, bench.DocumentBegin, bench.DocumentEnd)
	}
	return os.WriteFile(path, []byte(before+text+after), 0o644)
}
