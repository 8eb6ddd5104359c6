package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/csi-dm/csi-dm/test/kerneltest/job"
	"github.com/csi-dm/csi-dm/test/uml"
)

// consoleLines is how much of the console is shown for a guest that came to a bad end.
const consoleLines = 60

// lane runs packages one after another, each in a new guest on the same disks.
type lane struct {
	*run
	number int
	disks  []string
	// beside: packages of other lanes report at the same time.
	beside bool
	// current reports on the package under way, nil if none is.
	current *report
}

func (r *run) newLane(number int, beside bool) (*lane, error) {
	disks, err := r.bench.makeDisks(number)
	return &lane{run: r, number: number, disks: disks, beside: beside}, err
}

// do boots a guest for a package and follows it to its end. A package that ends the guest is marked as failed; the error is
// about what no package is to blame for.
func (l *lane) do(ctx context.Context, step job.Step) error {
	machine, err := l.bench.machine(l.number, l.bench.job(l.disks, step), l.options.Memory)
	if err != nil {
		return err
	}
	if l.options.Verbose {
		machine.Console = l.options.Output
	}
	begin := time.Now()
	session, err := startSession(ctx, machine, l.options.Timeout+l.options.Grace)
	if err != nil {
		return err
	}
	var trouble error
	fate := session.run(ctx, func(event job.Event) {
		if event.Kind == job.Booted {
			fmt.Fprintf(l.options.Output, "kernel %s, booted in %.1fs\n", event.Kernel, time.Since(begin).Seconds())
		}
		trouble = errors.Join(trouble, l.handle(ctx, event))
	})
	if fate == nil {
		return trouble
	}
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), trouble)
	}
	l.showConsole(session.guest, fate)
	if l.current == nil {
		// No package is to blame, and the next guest would fare no better.
		return errors.Join(fmt.Errorf("%w: %w", ErrFailed, fate), trouble)
	}
	return errors.Join(l.endPackage(fate.Error()), trouble)
}

func (l *lane) handle(ctx context.Context, event job.Event) (err error) {
	switch event.Kind {
	case job.Started:
		fmt.Fprintf(l.options.Output, "=== %s\n", event.Step)
		l.current, err = newReport(ctx, event.Step, l.beside, l.options.Verbose || l.options.Bench != "", l.options.Output)
	case job.Output:
		if l.current != nil {
			_, err = l.current.Write(event.Output)
		}
	case job.Ended:
		if l.current == nil {
			return nil
		}
		failure := ""
		if event.Status != 0 {
			failure = fmt.Sprintf("exit status %d", event.Status)
		}
		err = l.endPackage(failure)
	}
	return err
}

// endPackage counts and shows the result of the current package. Failure is empty if its binary was content.
func (l *lane) endPackage(failure string) error {
	report := l.current
	l.current = nil
	err := report.finish()
	switch {
	case failure != "":
	case report.failed > 0:
		failure = "failed tests"
	case report.ran()+report.benchmarks == 0 && l.options.Run == "":
		failure = "no test was run"
	}
	word := "ok  "
	if failure != "" {
		word = "FAIL"
		failure = ": " + failure
		report.showHeld()
	}
	l.count(report, word == "FAIL")
	fmt.Fprintf(l.options.Output, "%s %s %.1fs: %d passed, %d failed, %d skipped%s\n",
		word, report.name, time.Since(report.begin).Seconds(), report.passed, report.failed, report.skipped, failure)
	return err
}

// count adds a package's result to those of all.
func (r *run) count(report *report, failed bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.testsRun += report.ran() + report.benchmarks
	r.coverage = append(r.coverage, r.coverageDirectory(report.name))
	if failed {
		r.failedPackages = append(r.failedPackages, report.name)
	}
}

func (l *lane) showConsole(guest *uml.Guest, fate error) {
	fmt.Fprintf(l.options.Output, "%v\n", fate)
	if l.options.Verbose {
		return // it was shown as it came
	}
	lines := strings.SplitAfter(guest.ConsoleTail(), "\n")
	lines = lines[max(0, len(lines)-consoleLines):]
	fmt.Fprintf(l.options.Output, "end of the guest's console:\n")
	for _, line := range lines {
		_, _ = io.WriteString(l.options.Output, "  | "+strings.TrimRight(line, "\r\n")+"\n")
	}
}
