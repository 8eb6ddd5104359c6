package bench

import "fmt"

// verdicts are figures beside their bounds, in the order in which they were measured.
type verdicts struct{ rows [][4]string }

// atMost notes a figure that is not to exceed a bound.
func (v *verdicts) atMost(figure string, got, bound float64, unit string) {
	v.note(figure, "≤ "+number(bound)+unit, got, unit, got <= bound)
}

// atLeast notes a figure that is not to be below a bound.
func (v *verdicts) atLeast(figure string, got, bound float64, unit string) {
	v.note(figure, "≥ "+number(bound)+unit, got, unit, got >= bound)
}

func (v *verdicts) note(figure, bound string, got float64, unit string, met bool) {
	judgement := "no"
	if met {
		judgement = "yes"
	}
	v.rows = append(v.rows, [4]string{figure, bound, number(got) + unit, judgement})
}

// table of all of them.
func (v *verdicts) table() *table {
	t := newTable("figure", "bound", "measured", "met")
	for _, row := range v.rows {
		t.row(row[:]...)
	}
	return t
}

// number writes a value with as many digits as mean something.
func number(value float64) string {
	switch {
	case value >= 100 || value == float64(int64(value)):
		return fmt.Sprintf("%.0f", value)
	case value >= 10:
		return fmt.Sprintf("%.1f", value)
	default:
		return fmt.Sprintf("%.2f", value)
	}
}
