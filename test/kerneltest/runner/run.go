package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/csi-dm/csi-dm/test/kerneltest/job"
	"github.com/csi-dm/csi-dm/test/uml"
)

// consoleLines is how much of the console is shown for a guest that came to a bad end.
const consoleLines = 60

// Run runs the kernel tests of the packages and shows what happens on Output. The error wraps ErrFailed if the tests ran
// but not well. Ending ctx ends the guest.
func Run(ctx context.Context, options Options) (err error) {
	options.Output = &lockedWriter{target: options.Output}
	packages, err := findPackages(ctx, options.Packages)
	if err != nil {
		return err
	}
	bench, err := newBench(options.Cache, options.DiskSize)
	defer func() { err = errors.Join(err, bench.remove()) }()
	if err != nil {
		return err
	}
	run := &run{options: options, bench: bench}
	if err := run.build(ctx, packages); err != nil {
		return err
	}
	for len(run.left) > 0 {
		if err := run.session(ctx); err != nil {
			return err
		}
	}
	if err := reportCoverage(ctx, run.coverage, options.CoverProfile, options.Output); err != nil {
		return err
	}
	return run.verdict()
}

// run is the state of one Run.
type run struct {
	options Options
	bench   *bench
	// left are the steps still to do.
	left []job.Step
	// coverage are the directories with coverage of finished packages.
	coverage []string
	// current reports on the step under way, nil if none is.
	current        *report
	failedPackages []string
	testsRun       int
}

// build makes the steps.
func (r *run) build(ctx context.Context, packages []testPackage) error {
	begin := time.Now()
	binaries, err := buildTests(ctx, packages, r.bench.directory)
	if err != nil {
		return err
	}
	if r.bench.init, err = buildGuest(ctx, r.bench.directory); err != nil {
		return err
	}
	fmt.Fprintf(r.options.Output, "built the kernel tests of %d packages in %.1fs\n", len(packages), time.Since(begin).Seconds())
	for i, binary := range binaries {
		coverage := r.coverageDirectory(packages[i].ImportPath)
		if err := os.MkdirAll(coverage, 0o755); err != nil {
			return err
		}
		r.left = append(r.left, job.Step{
			Name:      packages[i].ImportPath,
			Command:   slices.Concat([]string{binary, "-test.gocoverdir=" + coverage}, r.testArguments(), r.options.Arguments),
			Directory: packages[i].Dir,
		})
	}
	return nil
}

func (r *run) coverageDirectory(name string) string {
	return filepath.Join(r.bench.directory, "coverage", strings.ReplaceAll(name, "/", "-"))
}

func (r *run) testArguments() []string {
	options := r.options
	arguments := []string{"-test.v=test2json", "-test.paniconexit0", "-test.timeout=" + options.Timeout.String()}
	if options.Count > 0 {
		arguments = append(arguments, "-test.count="+strconv.Itoa(options.Count))
	}
	if options.Run != "" {
		arguments = append(arguments, "-test.run="+options.Run)
	}
	if options.Bench != "" {
		arguments = append(arguments, "-test.bench="+options.Bench)
	}
	if options.Short {
		arguments = append(arguments, "-test.short")
	}
	return arguments
}

// session boots a guest for the steps that are left and follows it to its end. A package that ends the guest is marked as
// failed; the steps after it stay left.
func (r *run) session(ctx context.Context) error {
	machine, err := r.bench.machine(r.bench.job(r.left), r.options.Memory)
	if err != nil {
		return err
	}
	if r.options.Verbose {
		machine.Console = r.options.Output
	}
	begin := time.Now()
	session, err := startSession(ctx, machine, r.options.Timeout+r.options.Grace)
	if err != nil {
		return err
	}
	var trouble error
	fate := session.run(ctx, func(event job.Event) {
		if event.Kind == job.Booted {
			fmt.Fprintf(r.options.Output, "kernel %s, booted in %.1fs\n", event.Kernel, time.Since(begin).Seconds())
		}
		trouble = errors.Join(trouble, r.handle(ctx, event))
	})
	if fate == nil {
		return trouble
	}
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), trouble)
	}
	r.showConsole(session.guest, fate)
	if r.current == nil {
		// No package is to blame, and the next guest would fare no better.
		return errors.Join(fmt.Errorf("%w: %w", ErrFailed, fate), trouble)
	}
	return errors.Join(r.endPackage(fate.Error()), trouble)
}

func (r *run) handle(ctx context.Context, event job.Event) (err error) {
	switch event.Kind {
	case job.Started:
		fmt.Fprintf(r.options.Output, "=== %s\n", event.Step)
		r.current, err = newReport(ctx, event.Step, r.options.Verbose || r.options.Bench != "", r.options.Output)
	case job.Output:
		if r.current != nil {
			_, err = r.current.Write(event.Output)
		}
	case job.Ended:
		if r.current == nil {
			return nil
		}
		failure := ""
		if event.Status != 0 {
			failure = fmt.Sprintf("exit status %d", event.Status)
		}
		r.coverage = append(r.coverage, r.coverageDirectory(event.Step))
		err = r.endPackage(failure)
	}
	return err
}

// endPackage counts and shows the result of the current package. Failure is empty if its binary was content.
func (r *run) endPackage(failure string) error {
	report := r.current
	r.current = nil
	r.left = r.left[1:]
	err := report.finish()
	r.testsRun += report.ran() + report.benchmarks
	switch {
	case failure != "":
	case report.failed > 0:
		failure = "failed tests"
	case report.ran()+report.benchmarks == 0 && r.options.Run == "":
		failure = "no test was run"
	}
	word := "ok  "
	if failure != "" {
		word = "FAIL"
		failure = ": " + failure
		report.showHeld()
		r.failedPackages = append(r.failedPackages, report.name)
	}
	fmt.Fprintf(r.options.Output, "%s %s %.1fs: %d passed, %d failed, %d skipped%s\n",
		word, report.name, time.Since(report.begin).Seconds(), report.passed, report.failed, report.skipped, failure)
	return err
}

func (r *run) showConsole(guest *uml.Guest, fate error) {
	fmt.Fprintf(r.options.Output, "%v\n", fate)
	if r.options.Verbose {
		return // it was shown as it came
	}
	lines := strings.SplitAfter(guest.ConsoleTail(), "\n")
	lines = lines[max(0, len(lines)-consoleLines):]
	fmt.Fprintf(r.options.Output, "end of the guest's console:\n")
	for _, line := range lines {
		_, _ = io.WriteString(r.options.Output, "  | "+strings.TrimRight(line, "\r\n")+"\n")
	}
}

func (r *run) verdict() error {
	if len(r.failedPackages) > 0 {
		return fmt.Errorf("%w: %s", ErrFailed, strings.Join(r.failedPackages, ", "))
	}
	if r.testsRun == 0 {
		return fmt.Errorf("%w: no test of any package was run", ErrFailed)
	}
	return nil
}
