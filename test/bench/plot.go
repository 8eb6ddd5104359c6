package bench

import (
	"fmt"
	"math"
	"strings"
)

// PlotBegin and PlotEnd are the lines between which the measuring process prints the plot, an SVG document.
const (
	PlotBegin = "<!-- make bench: plot begins -->"
	PlotEnd   = "<!-- make bench: plot ends -->"
)

// plot is a chart of curves over a logarithmic grid.
type plot struct {
	title, across, up string
	curves            []curve
}

// curve is a named series of points. Its dash, if there is one, is SVG's stroke-dasharray.
type curve struct {
	name, color, dash string
	points            []point
}

type point struct{ x, y float64 }

// Size of the chart and of the margins around its grid, in pixels.
const (
	plotWidth, plotHeight              = 760, 420
	marginLeft, marginRight, marginTop = 64, 190, 40
	marginBottom                       = 52
)

// svg draws the plot. Both axes are logarithmic and end at powers of ten; values must be above zero.
func (p plot) svg() string {
	x, y := p.axes()
	var b strings.Builder
	line := func(format string, values ...any) { fmt.Fprintf(&b, format+"\n", values...) }
	line(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`, plotWidth, plotHeight)
	line(`<rect width="%d" height="%d" fill="white"/>`, plotWidth, plotHeight)
	line(`<text x="%d" y="22" font-size="14" font-weight="bold">%s</text>`, marginLeft, escape(p.title))
	for decade := x.from; decade <= x.to; decade++ {
		at := x.at(math.Pow10(decade))
		line(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/>`, at, marginTop, at, plotHeight-marginBottom)
		line(`<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, at, plotHeight-marginBottom+18, decimal(decade))
	}
	for decade := y.from; decade <= y.to; decade++ {
		at := y.at(math.Pow10(decade))
		line(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`, marginLeft, at, plotWidth-marginRight, at)
		line(`<text x="%d" y="%.1f" text-anchor="end">%s</text>`, marginLeft-8, at+4, decimal(decade))
	}
	line(`<text x="%d" y="%d" text-anchor="middle">%s</text>`, (marginLeft+plotWidth-marginRight)/2, plotHeight-12, escape(p.across))
	line(`<text x="16" y="%d" text-anchor="middle" transform="rotate(-90 16 %d)">%s</text>`, plotHeight/2, plotHeight/2, escape(p.up))
	for i, c := range p.curves {
		var path []string
		for _, at := range c.points {
			path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(at.x), y.at(at.y)))
			line(`<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`, x.at(at.x), y.at(at.y), c.color)
		}
		line(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`, strings.Join(path, " "), c.color, c.dash)
		legend := marginTop + 10 + 20*i
		line(`<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`, plotWidth-marginRight+12, legend, plotWidth-marginRight+40, legend, c.color, c.dash)
		line(`<text x="%d" y="%d">%s</text>`, plotWidth-marginRight+46, legend+4, escape(c.name))
	}
	line(`</svg>`)
	return b.String()
}

// axis maps values to pixels. Its ends are powers of ten.
type axis struct {
	from, to    int
	first, last float64 // pixels
}

func (a axis) at(value float64) float64 {
	return a.first + (math.Log10(value)-float64(a.from))/float64(a.to-a.from)*(a.last-a.first)
}

func (p plot) axes() (x, y axis) {
	across, up := [2]float64{math.Inf(1), 0}, [2]float64{math.Inf(1), 0}
	for _, c := range p.curves {
		for _, at := range c.points {
			across = [2]float64{min(across[0], at.x), max(across[1], at.x)}
			up = [2]float64{min(up[0], at.y), max(up[1], at.y)}
		}
	}
	x.from, x.to = decades(across)
	y.from, y.to = decades(up)
	x.first, x.last = marginLeft, plotWidth-marginRight
	y.first, y.last = plotHeight-marginBottom, marginTop
	return x, y
}

// decades are the powers of ten around a range, at least two.
func decades(span [2]float64) (from, to int) {
	if span[1] <= 0 || math.IsInf(span[0], 0) {
		return 0, 1
	}
	from, to = int(math.Floor(math.Log10(span[0]))), int(math.Ceil(math.Log10(span[1])))
	return from, max(to, from+1)
}

func decimal(decade int) string { return fmt.Sprintf("%.*f", max(0, -decade), math.Pow10(decade)) }

func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}
