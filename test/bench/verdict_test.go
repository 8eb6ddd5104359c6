package bench

import "testing"

func TestVerdicts(t *testing.T) {
	var v verdicts
	v.atMost("ratio", 1.234, 2, "")
	v.atMost("stall", 51, 50, " ms")
	v.atLeast("share", 0.5, 0.5, " ×")
	v.atLeast("LVM", 49.96, 50, "")
	const want = "| figure | bound | measured | met |\n|---|---|---|---|\n" +
		"| ratio | ≤ 2 | 1.23 | yes |\n| stall | ≤ 50 ms | 51 ms | no |\n| share | ≥ 0.50 × | 0.50 × | yes |\n| LVM | ≥ 50 | 50.0 | no |\n"
	if got := v.table().String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
