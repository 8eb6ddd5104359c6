package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strings"
	"time"
)

// testEvent is what go tool test2json makes of a test binary's output; `go doc test2json` describes it.
type testEvent struct {
	Action  string
	Test    string
	Elapsed float64 // seconds
	Output  string
}

// report follows one package's test binary: its output goes in, lines for a person come out, and results are counted. Only
// top-level tests count.
type report struct {
	name string
	// label goes before the names of tests: the package, where several report at a time.
	label   string
	verbose bool
	output  io.Writer
	begin   time.Time

	converter *exec.Cmd
	input     io.WriteCloser
	done      chan error

	passed, failed, skipped, benchmarks int
	// held is output of tests that are not finished, by top-level test; "" is the package's own.
	held map[string]*bytes.Buffer
}

func newReport(ctx context.Context, name string, beside, verbose bool, output io.Writer) (*report, error) {
	result := &report{
		name: name, verbose: verbose, output: output, begin: time.Now(), done: make(chan error, 1), held: map[string]*bytes.Buffer{},
	}
	if beside {
		result.label = path.Base(name) + ": "
	}
	// Without -t there are no times, not even those of tests.
	result.converter = exec.CommandContext(ctx, "go", "tool", "test2json", "-t", "-p", name)
	result.converter.Stderr = output
	input, err := result.converter.StdinPipe()
	if err != nil {
		return nil, err
	}
	events, err := result.converter.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := result.converter.Start(); err != nil {
		return nil, fmt.Errorf("go tool test2json: %w", err)
	}
	result.input = input
	go func() {
		err := result.follow(events)
		if waitErr := result.converter.Wait(); err == nil {
			err = waitErr
		}
		result.done <- err
	}()
	return result, nil
}

// Write takes output of the test binary.
func (r *report) Write(p []byte) (int, error) { return r.input.Write(p) }

// finish waits until everything written was shown. No result may be read before.
func (r *report) finish() error {
	if err := r.input.Close(); err != nil {
		return err
	}
	return <-r.done
}

func (r *report) follow(events io.Reader) error {
	for decoder := json.NewDecoder(events); ; {
		var event testEvent
		if err := decoder.Decode(&event); err == io.EOF {
			return nil
		} else if err != nil {
			_, _ = io.Copy(io.Discard, events)
			return fmt.Errorf("go tool test2json: %w", err)
		}
		r.handle(event)
	}
}

func (r *report) handle(event testEvent) {
	top, _, isSubtest := strings.Cut(event.Test, "/")
	switch event.Action {
	case "output":
		if strings.HasPrefix(event.Test, "Benchmark") && strings.Contains(event.Output, "ns/op") {
			r.benchmarks++
		}
		r.show(top, event.Output)
	case "pass", "fail", "skip":
		if event.Test != "" && !isSubtest {
			r.endTest(event)
		}
	}
}

func (r *report) show(test, text string) {
	if r.verbose {
		fmt.Fprint(r.output, text)
		return
	}
	if r.held[test] == nil {
		r.held[test] = &bytes.Buffer{}
	}
	r.held[test].WriteString(text)
}

func (r *report) endTest(event testEvent) {
	switch event.Action {
	case "pass":
		r.passed++
	case "fail":
		r.failed++
	case "skip":
		r.skipped++
	}
	if !r.verbose {
		if event.Action == "pass" {
			fmt.Fprintf(r.output, "    pass %s%s (%.2fs)\n", r.label, event.Test, event.Elapsed)
		} else if held := r.held[event.Test]; held != nil {
			fmt.Fprint(r.output, held.String())
		}
	}
	delete(r.held, event.Test)
}

// ran is how many tests came to a result of their own.
func (r *report) ran() int { return r.passed + r.failed }

// showHeld shows output that no finished test explains: of tests that were running when their package ended, and of the
// package itself. Call it after finish, for a package that failed.
func (r *report) showHeld() {
	for _, held := range r.held {
		fmt.Fprint(r.output, held.String())
	}
	clear(r.held)
}
