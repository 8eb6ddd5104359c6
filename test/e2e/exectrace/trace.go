// Package exectrace shows which programs ran on a node of the lab between two moments, in whatever container, so that a test
// can prove that one did not run.
//
//	trace, err := exectrace.Start(ctx, node, recorder)
//	before, err := trace.Mark(ctx)
//	…
//	after, err := trace.Mark(ctx)
//	execs, err := trace.Between(before, after)
//	err = trace.Stop(ctx)
//
// The node's kernel reports every execve through its audit subsystem (package audit). A mark is itself a program that is
// executed on the node: once it is in the record, everything that was executed before it is, too. Stop fails if the kernel lost
// a record, since a record with holes proves nothing.
package exectrace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"github.com/csi-dm/csi-dm/test/e2e/exectrace/audit"
	"github.com/csi-dm/csi-dm/test/lab"
	"github.com/csi-dm/csi-dm/test/lab/control"
)

// folder is where the recorder and its record are on the node: a tmpfs.
const folder = "/run/e2e-exectrace"

// patience is how long the recorder may take for what is asked of it.
const patience = time.Minute

// Trace is a recorder that runs on a node. It is for use by one goroutine.
type Trace struct {
	node  *lab.Node
	marks int
	execs []audit.Exec
	lost  *int64
}

// Mark is a moment on the node.
type Mark int

// Start copies the recorder, a static program, to the node and starts it.
func Start(ctx context.Context, node *lab.Node, recorder string) (*Trace, error) {
	program, err := os.ReadFile(recorder)
	if err != nil {
		return nil, err
	}
	copying := control.ExecRequest{
		Argv:  []string{"sh", "-ec", "mkdir -p $1; cd $1; rm -f record; cat >recorder; chmod 0700 recorder", "sh", folder},
		Stdin: program,
	}
	if err := run(ctx, node, copying); err != nil {
		return nil, fmt.Errorf("copy the recorder to the node: %w", err)
	}
	starting := control.ExecRequest{
		Argv: []string{"sh", "-ec", "cd $1; setsid ./recorder >record 2>error </dev/null & echo $! >$1/process", "sh", folder},
	}
	if err := run(ctx, node, starting); err != nil {
		return nil, fmt.Errorf("start the recorder: %w", err)
	}
	t := &Trace{node: node}
	_, err = t.Mark(ctx)
	return t, err
}

// Mark notes the present moment. When it returns, all that was executed before is in the record.
func (t *Trace) Mark(ctx context.Context) (Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		// The recorder may still be starting: what is executed until then is not seen, so that the mark is repeated.
		t.marks++
		word := fmt.Sprintf("mark-%d", t.marks)
		if err := run(ctx, t.node, control.ExecRequest{Argv: []string{"true", word}}); err != nil {
			return 0, err
		}
		for range 5 {
			if err := t.read(ctx); err != nil {
				return 0, err
			}
			for index, exec := range t.execs {
				if len(exec.Arguments) == 2 && exec.Arguments[1] == word {
					return Mark(index), nil
				}
			}
			select {
			case <-ctx.Done():
				output, _ := t.node.Exec(context.WithoutCancel(ctx), "cat", path.Join(folder, "error"))
				return 0, fmt.Errorf("the recorder on %s does not see a program that ran there (it says %q): %w",
					t.node.Name, output.Stdout, context.Cause(ctx))
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

// Between returns the programs that were executed after one mark and before another.
func (t *Trace) Between(from, to Mark) []audit.Exec { return t.execs[from+1 : to] }

// Stop ends the recorder and removes it from the node. It fails if the kernel lost a record.
func (t *Trace) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := run(ctx, t.node, control.ExecRequest{Argv: []string{"sh", "-ec", "kill -TERM $(cat $1/process)", "sh", folder}}); err != nil {
		return fmt.Errorf("end the recorder: %w", err)
	}
	for t.lost == nil {
		if err := t.read(ctx); err != nil {
			return err
		}
		if t.lost == nil && ctx.Err() != nil {
			return errors.New("the recorder did not end")
		}
	}
	if *t.lost != 0 {
		return fmt.Errorf("the kernel of %s lost %d records of executed programs", t.node.Name, *t.lost)
	}
	return run(ctx, t.node, control.ExecRequest{Argv: []string{"rm", "-r", folder}})
}

// read takes the record over from the node.
func (t *Trace) read(ctx context.Context) error {
	result, err := t.node.Exec(ctx, "cat", path.Join(folder, "record"))
	if err != nil {
		return err
	}
	t.execs, t.lost, err = parse(result.Stdout)
	return err
}

// parse reads the recorder's output, of which the last line may be incomplete.
func parse(record []byte) ([]audit.Exec, *int64, error) {
	var execs []audit.Exec
	for {
		line, rest, complete := bytes.Cut(record, []byte("\n"))
		if !complete {
			return execs, nil, nil
		}
		record = rest
		var entry struct {
			audit.Exec
			Lost *int64 `json:"lost"`
		}
		if err := json.Unmarshal(line, &entry); err != nil {
			return nil, nil, fmt.Errorf("line %q of the record: %w", line, err)
		}
		if entry.Lost != nil {
			return execs, entry.Lost, nil
		}
		execs = append(execs, entry.Exec)
	}
}

func run(ctx context.Context, node *lab.Node, request control.ExecRequest) error {
	result, err := node.Run(ctx, request)
	if err != nil {
		return err
	}
	if result.ExitStatus != 0 {
		return &lab.ExitError{Node: node.Name, Argv: request.Argv, Result: result}
	}
	return nil
}

// Makers are the executions among execs of programs that make a file system, by any of their names.
func Makers(execs []audit.Exec) []audit.Exec {
	var makers []audit.Exec
	for _, exec := range execs {
		name := path.Base(exec.Executable)
		called := ""
		if len(exec.Arguments) > 0 {
			called = path.Base(exec.Arguments[0])
		}
		if isMaker(name) || isMaker(called) {
			makers = append(makers, exec)
		}
	}
	return makers
}

func isMaker(name string) bool {
	return strings.HasPrefix(name, "mkfs") || strings.HasPrefix(name, "mke2fs") || name == "mkdosfs" || name == "mkntfs"
}

// DescendantsOf are the executions among execs by children of the given processes, and by theirs.
func DescendantsOf(execs []audit.Exec, processes []int) []audit.Exec {
	family := map[int]bool{}
	for _, process := range processes {
		family[process] = true
	}
	var found []audit.Exec
	for _, exec := range execs {
		if family[exec.PID] || family[exec.ParentPID] {
			family[exec.PID] = true
			found = append(found, exec)
		}
	}
	return found
}
