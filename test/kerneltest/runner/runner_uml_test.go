//go:build uml

package runner

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func testOptions(t *testing.T, packages ...string) (Options, *bytes.Buffer) {
	t.Helper()
	output := &bytes.Buffer{}
	options := Options{
		Memory: 256 << 20, Timeout: 3 * time.Second, Grace: 3 * time.Second, Count: 1, Cache: t.TempDir(), Output: output,
	}
	for _, name := range packages {
		options.Packages = append(options.Packages, "./testdata/"+name)
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(options.Cache); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		if t.Failed() {
			t.Logf("output:\n%s", output)
		}
	})
	return options, output
}

func TestRunPasses(t *testing.T) {
	options, output := testOptions(t, "passing")
	options.CoverProfile = filepath.Join(t.TempDir(), "profile")
	if err := Run(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^    pass TestPassing \(\d+\.\d\ds\)$`,
		`(?m)^ok   .*/testdata/passing .*: 1 passed, 0 failed, 0 skipped$`,
		`(?m)^ +50\.0% .*/testdata/passing$`,
		`(?m)^ +50\.0% total$`,
	} {
		if !regexp.MustCompile(want).MatchString(output.String()) {
			t.Errorf("no %s in the output", want)
		}
	}
	if strings.Contains(output.String(), "a quiet remark") {
		t.Error("output of a passing test is shown")
	}
	if profile, err := os.ReadFile(options.CoverProfile); err != nil || !bytes.Contains(profile, []byte("testdata/passing/passing.go")) {
		t.Errorf("profile: %q, %v", profile, err)
	}
}

// Two guests run three packages: results say whose they are, and one that hangs takes nothing from the others.
func TestRunSeveralGuests(t *testing.T) {
	options, output := testOptions(t, "passing", "blocked", "failing")
	options.Guests = 2
	if err := Run(t.Context(), options); !errors.Is(err, ErrFailed) {
		t.Errorf("got %v, want ErrFailed", err)
	}
	for _, want := range []string{
		`(?m)^    pass passing: TestPassing \(\d+\.\d\ds\)$`,
		`(?m)^ok   .*/testdata/passing .*: 1 passed, 0 failed, 0 skipped$`,
		`(?m)^FAIL .*/testdata/failing .*1 passed, 1 failed, 0 skipped`,
		`(?m)^FAIL .*/testdata/blocked .*guest hung`,
		`(?m)^ +50\.0% .*/testdata/passing$`,
	} {
		if !regexp.MustCompile(want).MatchString(output.String()) {
			t.Errorf("no %s in the output", want)
		}
	}
}

func TestRunIsVerbose(t *testing.T) {
	options, output := testOptions(t, "passing")
	options.Verbose = true
	if err := Run(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"=== RUN   TestPassing", "a quiet remark", "System halted"} {
		if !strings.Contains(output.String(), want) {
			t.Errorf("no %q in the output", want)
		}
	}
}

// Every bad end is told from the others, is somebody's fault, and keeps no other package from running.
func TestRunFails(t *testing.T) {
	options, output := testOptions(t, "failing", "empty", "skipping", "waiting", "orphaning", "blocked", "crashing", "passing")
	err := Run(t.Context(), options)
	if !errors.Is(err, ErrFailed) {
		t.Fatalf("got %v, want ErrFailed", err)
	}
	for name, why := range map[string]string{
		"failing":   `1 passed, 1 failed, 0 skipped: exit status 1`,
		"empty":     `0 passed, 0 failed, 0 skipped: no test was run`,
		"skipping":  `0 passed, 0 failed, 1 skipped: no test was run`,
		"waiting":   `0 passed, 0 failed, 0 skipped: exit status 2`,
		"orphaning": `1 passed, 0 failed, 0 skipped: exit status 125`,
		"blocked":   `guest hung: .*/testdata/blocked for 6s`,
		"crashing":  `guest's kernel crashed: .*`,
	} {
		if !regexp.MustCompile(`(?m)^FAIL .*/testdata/` + name + ` .*` + why).MatchString(output.String()) {
			t.Errorf("%s: no %q in the output", name, why)
		}
		if !strings.Contains(err.Error(), "/"+name) {
			t.Errorf("%s is not in the error: %v", name, err)
		}
	}
	if strings.Contains(err.Error(), "/passing") {
		t.Errorf("passing is blamed: %v", err)
	}
	if !regexp.MustCompile(`(?m)^ok   .*/testdata/passing `).MatchString(output.String()) {
		t.Error("passing was not run")
	}
	for _, want := range []string{
		"a reason to fail", "a reason to skip", "panic: test timed out after 3s", "goroutine ", "left behind that holds the output",
		"=== RUN   TestBlocked", "Show Blocked State", "task:blocked.test", "Kernel panic - not syncing: sysrq triggered crash",
	} {
		if !strings.Contains(output.String(), want) {
			t.Errorf("no %q in the output", want)
		}
	}
}

func TestRunSelects(t *testing.T) {
	options, output := testOptions(t, "passing", "failing")
	options.Run = "^(TestFine|TestNowhere)$"
	if err := Run(t.Context(), options); err != nil {
		t.Errorf("got %v", err)
	}
	if text := output.String(); !strings.Contains(text, "pass TestFine") || strings.Contains(text, "TestPassing") {
		t.Error("other tests were run than asked for")
	}
	options.Run = "^TestNowhere$"
	if err := Run(t.Context(), options); !errors.Is(err, ErrFailed) {
		t.Errorf("got %v for no match at all, want ErrFailed", err)
	}
}

func TestRunBenchmarks(t *testing.T) {
	options, output := testOptions(t, "passing")
	options.Run, options.Bench = "^$", "Passing"
	if err := Run(t.Context(), options); err != nil {
		t.Errorf("got %v", err)
	}
	if !regexp.MustCompile(`(?m)^BenchmarkPassing.* ns/op`).MatchString(output.String()) {
		t.Error("no result of the benchmark is shown")
	}
	options.Bench = "Nowhere"
	if err := Run(t.Context(), options); !errors.Is(err, ErrFailed) {
		t.Errorf("got %v for no benchmark, want ErrFailed", err)
	}
}

func TestRunRefuses(t *testing.T) {
	options, _ := testOptions(t, "without")
	if err := Run(t.Context(), options); !errors.Is(err, ErrNoKernelTests) {
		t.Errorf("got %v, want ErrNoKernelTests", err)
	}
	options, _ = testOptions(t, "broken")
	if err := Run(t.Context(), options); err == nil || !strings.Contains(err.Error(), "broken_kernel_test.go:5") {
		t.Errorf("got %v, want the compiler's words", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	options, _ := testOptions(t, "waiting")
	options.Timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	options.Output = writerFunc(func(p []byte) (int, error) {
		if strings.HasPrefix(string(p), "=== ") {
			cancel()
		}
		return len(p), nil
	})
	if err := Run(ctx, options); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestShell(t *testing.T) {
	options, output := testOptions(t, "passing")
	options.Input = strings.NewReader("ls -d $TESTS/round-0/*.test; dmsetup version; tty; echo sum $((40+2)); exit 3\n")
	err := Shell(t.Context(), options)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v, want exit status 3", err)
	}
	for _, want := range []string{"round-0/passing.test", "Driver version:", "/dev/tty0", "sum 42"} {
		if !strings.Contains(output.String(), want) {
			t.Errorf("no %q in the output", want)
		}
	}
}
