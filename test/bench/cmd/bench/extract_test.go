//go:build linux

package main

import (
	"io"
	"testing"

	"github.com/csi-dm/csi-dm/test/bench"
)

func TestDocument(t *testing.T) {
	output := &extractor{progress: io.Discard}
	if _, err := output.document("described"); err == nil {
		t.Error("a run without tables gave a document")
	}
	for _, text := range []string{"noise\n", bench.DocumentBegin, "\n| a |\n", bench.DocumentEnd + "\nok\n"} {
		if _, err := io.WriteString(output, text); err != nil {
			t.Fatal(err)
		}
	}
	text, err := output.document("described")
	const want = "described\n| a |\n"
	if err != nil || text != want {
		t.Errorf("got %q, %v, want %q", text, err, want)
	}
}

func TestPlot(t *testing.T) {
	output := &extractor{progress: io.Discard}
	if _, err := output.plot(); err == nil {
		t.Error("a run without a plot gave one")
	}
	if _, err := io.WriteString(output, "noise\n"+bench.PlotBegin+"\n<svg/>\n"+bench.PlotEnd+"\nok\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := output.plot(); err != nil || text != "<svg/>\n" {
		t.Errorf("got %q, %v", text, err)
	}
}
