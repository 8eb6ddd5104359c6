//go:build linux

package main

import (
	"bytes"
	"errors"
	"io"
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

// place is where the tables belong in the document.
var place = bench.Place{Begin: bench.DocumentBegin, End: bench.DocumentEnd}

// document gives what the run printed for the document, below a description of the run.
func (e *extractor) document(description string) (string, error) {
	_, rest, begun := strings.Cut(e.all.String(), bench.DocumentBegin+"\n")
	body, _, ended := strings.Cut(rest, bench.DocumentEnd)
	if !begun || !ended {
		return "", errors.New("the run printed no tables")
	}
	return description + "\n" + body, nil
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
