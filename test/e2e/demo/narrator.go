package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// narrator writes to a terminal, in colours, or to anything else, without.
type narrator struct {
	out    io.Writer
	colour bool
	// block tells that a command or a file was written last: what follows is set off by an empty line.
	block bool
}

func newNarrator(out *os.File) *narrator {
	_, err := unix.IoctlGetTermios(int(out.Fd()), unix.TCGETS)
	_, refused := os.LookupEnv("NO_COLOR")
	return &narrator{out: out, colour: err == nil && !refused && os.Getenv("TERM") != "dumb"}
}

// Escape sequences of ECMA-48, "select graphic rendition".
const (
	bold  = "1"
	faint = "2"
	red   = "31"
	green = "32"
	blue  = "34"
)

func (n *narrator) paint(rendition, text string) string {
	if !n.colour {
		return text
	}
	return "\x1b[" + rendition + "m" + text + "\x1b[0m"
}

func (n *narrator) title(text string) {
	fmt.Fprintf(n.out, "\n%s\n", n.paint(bold, text))
	n.block = false
}

// say writes a paragraph as it was broken into lines.
func (n *narrator) say(format string, arguments ...any) {
	n.setOff(false)
	for _, line := range strings.Split(fmt.Sprintf(format, arguments...), "\n") {
		fmt.Fprintln(n.out, strings.TrimRight("   "+line, " "))
	}
}

// setOff writes an empty line before a block, and after one.
func (n *narrator) setOff(block bool) {
	if n.block || block {
		fmt.Fprintln(n.out)
	}
	n.block = block
}

// command shows a command as it could be typed, and its output.
func (n *narrator) command(line, output string) {
	n.setOff(true)
	fmt.Fprintf(n.out, "   %s\n", n.paint(blue, "$ "+line))
	for _, text := range strings.Split(strings.TrimRight(output, " \n"), "\n") {
		fmt.Fprintln(n.out, strings.TrimRight("   "+text, " "))
	}
}

// file shows the content of a file, fainter than what happens.
func (n *narrator) file(name, content string) {
	n.setOff(true)
	fmt.Fprintf(n.out, "   %s\n", n.paint(faint, name))
	for _, text := range strings.Split(strings.TrimRight(content, "\n"), "\n") {
		fmt.Fprintf(n.out, "   %s\n", n.paint(faint, text))
	}
}

func (n *narrator) took(duration time.Duration) {
	n.setOff(false)
	fmt.Fprintf(n.out, "   %s\n", n.paint(green, fmt.Sprintf("(%.1f s)", duration.Seconds())))
}

func (n *narrator) failed(err error) {
	fmt.Fprintf(n.out, "\n%s\n", n.paint(red, "This did not go as it should: "+err.Error()))
}

// Write takes progress of others, whole lines at a time.
func (n *narrator) Write(text []byte) (int, error) {
	for _, line := range strings.Split(strings.TrimRight(string(text), "\n"), "\n") {
		fmt.Fprintf(n.out, "   %s\n", n.paint(faint, line))
	}
	return len(text), nil
}
