package bench

import (
	"fmt"
	"strings"
	"time"
)

// table is a table in Markdown.
type table struct{ text strings.Builder }

func newTable(columns ...string) *table {
	t := &table{}
	t.row(columns...)
	t.text.WriteString(strings.Repeat("|---", len(columns)) + "|\n")
	return t
}

func (t *table) row(cells ...string) { t.text.WriteString("| " + strings.Join(cells, " | ") + " |\n") }

func (t *table) String() string { return t.text.String() }

// milliseconds writes a duration in milliseconds, with as many digits as mean something.
func milliseconds(d time.Duration) string {
	value := float64(d) / float64(time.Millisecond)
	if value >= 100 {
		return fmt.Sprintf("%.0f", value)
	}
	return fmt.Sprintf("%.2f", value)
}
