//go:build kernel

package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

// killedResult is what a process said before it ended.
type killedResult struct {
	killed bool
	// next is the number of the first step that was not acknowledged.
	next    int
	objects killedObjects
	places  []killPlace
}

// runKilled runs a process until it is through or dead.
func runKilled(t *testing.T, job killedJob) killedResult {
	t.Helper()
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, os.Args[0])
	command.Env = append(os.Environ(), killedVariable+"="+string(text))
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	result := killedResult{next: job.From, objects: job.Objects}
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var said killedFact
		if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
			t.Fatalf("the process said %q", lines.Text())
		}
		if said.Done {
			result.next++
			result.objects = said.Objects
		} else if !slices.Contains(result.places, said.At) {
			result.places = append(result.places, said.At)
		}
	}
	err = errors.Join(lines.Err(), command.Wait())
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL && ctx.Err() == nil {
		result.killed = true
	} else if err != nil {
		t.Fatalf("the process that began with %s: %v", lifeSteps[job.From].name, err)
	}
	return result
}
