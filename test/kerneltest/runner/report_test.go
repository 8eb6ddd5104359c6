package runner

import (
	"bytes"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	const binaryOutput = "\x16=== RUN   TestA\n\x16=== RUN   TestA/sub\n    a_test.go:1: detail\n" +
		"\x16--- FAIL: TestA (1.25s)\n    \x16--- FAIL: TestA/sub (0.25s)\n" +
		"\x16=== RUN   TestB\n    b_test.go:1: remark\n\x16--- PASS: TestB (0.50s)\n" +
		"\x16=== RUN   TestC\n    c_test.go:1: not here\n\x16--- SKIP: TestC (0.00s)\n" +
		"\x16=== RUN   TestD\nstuck\n"
	var output bytes.Buffer
	report, err := newReport(t.Context(), "example.org/a", false, false, &lockedWriter{target: &output})
	if err != nil {
		t.Fatal(err)
	}
	// In small pieces, as they come from a guest.
	for rest := binaryOutput; rest != ""; rest = rest[min(7, len(rest)):] {
		if _, err := report.Write([]byte(rest[:min(7, len(rest))])); err != nil {
			t.Fatal(err)
		}
	}
	if err := report.finish(); err != nil {
		t.Fatal(err)
	}
	if report.passed != 1 || report.failed != 1 || report.skipped != 1 || report.ran() != 2 {
		t.Errorf("got %d passed, %d failed, %d skipped, %d ran", report.passed, report.failed, report.skipped, report.ran())
	}
	for want, times := range map[string]int{
		"    pass TestB (0.50s)\n": 1, "a_test.go:1: detail": 1, "b_test.go:1: remark": 0, "c_test.go:1: not here": 1, "stuck": 0,
	} {
		if got := strings.Count(output.String(), want); got != times {
			t.Errorf("%q is there %d times, want %d", want, got, times)
		}
	}
	if report.showHeld(); !strings.Contains(output.String(), "stuck") {
		t.Error("output of the unfinished test is missing")
	}
	if t.Failed() {
		t.Logf("output:\n%s", output.String())
	}
}

func TestReportOfBenchmarks(t *testing.T) {
	var output bytes.Buffer
	report, err := newReport(t.Context(), "example.org/a", false, true, &lockedWriter{target: &output})
	if err != nil {
		t.Fatal(err)
	}
	const line = "BenchmarkA-1   \t     100\t  12345 ns/op\n"
	if _, err := report.Write([]byte("goos: linux\n\x16=== RUN   BenchmarkA\n\x16BenchmarkA\n" + line + "PASS\n")); err != nil {
		t.Fatal(err)
	}
	if err := report.finish(); err != nil {
		t.Fatal(err)
	}
	if report.benchmarks != 1 || !strings.Contains(output.String(), line) {
		t.Errorf("%d benchmarks in %q", report.benchmarks, output.String())
	}
}
