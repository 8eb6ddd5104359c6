package bench

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestPlot(t *testing.T) {
	p := plot{title: "a < b & c", across: "volumes", up: "ms", curves: []curve{
		{name: "engine", color: "blue", points: []point{{10, 4.5}, {10000, 5}}},
		{name: "LVM", color: "red", dash: "4 2", points: []point{{100, 900}}},
	}}
	text := p.svg()
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
	for _, want := range []string{"a &lt; b &amp; c", ">engine<", ">LVM<", ">10000<", ">1000<", `cx="64.0"`, `cx="570.0"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the plot has no %q:\n%s", want, text)
		}
	}
	if empty := (plot{}).svg(); strings.Contains(empty, "NaN") {
		t.Errorf("a plot of nothing: %s", empty)
	}
}

func TestDecades(t *testing.T) {
	for _, c := range []struct {
		span     [2]float64
		from, to int
	}{{[2]float64{10, 10000}, 1, 4}, {[2]float64{0.5, 99}, -1, 2}, {[2]float64{10, 10}, 1, 2}} {
		if from, to := decades(c.span); from != c.from || to != c.to {
			t.Errorf("%v: from %d to %d, want %d and %d", c.span, from, to, c.from, c.to)
		}
	}
}
