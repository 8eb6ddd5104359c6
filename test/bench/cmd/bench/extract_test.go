//go:build linux

package main

import (
	"io"
	"os"
	"path/filepath"
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
	want := bench.DocumentBegin + "\ndescribed\n| a |\n" + bench.DocumentEnd + "\n"
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

func TestReplaceIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "document.md")
	const place = bench.DocumentBegin + "\nold\n" + bench.DocumentEnd + "\n"
	if err := os.WriteFile(path, []byte("before\n"+place+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const text = bench.DocumentBegin + "\nnew\n" + bench.DocumentEnd + "\n"
	for range 2 { // it finds its place again
		if err := replaceIn(path, text); err != nil {
			t.Fatal(err)
		}
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "before\n"+text+"after\n" {
		t.Errorf("got %q, %v", content, err)
	}
	if err := os.WriteFile(path, []byte("nothing marked\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replaceIn(path, text); err == nil {
		t.Error("a document without a place was written")
	}
}
