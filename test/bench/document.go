package bench

import (
	"fmt"
	"os"
	"strings"
)

// DocumentBegin and DocumentEnd are the lines between which the measuring process prints what belongs into docs/performance.md. The command bench takes them as
// they are, and marks the place in the document with the same.
const (
	DocumentBegin = "<!-- make bench: begin -->"
	DocumentEnd   = "<!-- make bench: end -->"
)

// Place is a place in a document, between two lines that mark it.
type Place struct{ Begin, End string }

// clusterPlace is where the figures of a cluster belong.
var clusterPlace = Place{"<!-- make bench-cluster: begin -->", "<!-- make bench-cluster: end -->"}

// Replace puts text between the marking lines of a file, in place of what is there.
func (p Place) Replace(path, text string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begun := strings.Cut(string(content), p.Begin+"\n")
	_, after, ended := strings.Cut(rest, p.End+"\n")
	if !begun || !ended {
		return fmt.Errorf("%s has no lines %q and %q", path, p.Begin, p.End)
	}
	return os.WriteFile(path, []byte(before+p.Begin+"\n"+text+p.End+"\n"+after), 0o644)
}
