package bench

// DocumentBegin and DocumentEnd are the lines between which the measuring process prints what belongs into docs/performance.md. The command bench takes them as
// they are, and marks the place in the document with the same.
const (
	DocumentBegin = "<!-- make bench: begin -->"
	DocumentEnd   = "<!-- make bench: end -->"
)
