//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/csi-dm/csi-dm/test/kerneltest/job"
)

// reporter writes events, from any goroutine.
type reporter struct {
	mutex   sync.Mutex
	encoder *json.Encoder
}

func newReporter(channel io.Writer) *reporter { return &reporter{encoder: json.NewEncoder(channel)} }

func (r *reporter) report(event job.Event) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if err := r.encoder.Encode(event); err != nil {
		fmt.Fprintln(os.Stderr, "kernel-guest: report:", err)
	}
}

// outputWriter reports what is written to it as output of a step.
type outputWriter struct {
	events *reporter
	step   string
}

func (w outputWriter) Write(p []byte) (int, error) {
	w.events.report(job.Event{Kind: job.Output, Step: w.step, Output: p})
	return len(p), nil
}

// WriteString is Write for a string.
func (w outputWriter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }
