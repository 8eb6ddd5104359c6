//go:build kernel

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// neighbourVariable holds what a test binary shall write that was started for nothing else, as JSON.
const neighbourVariable = "CSI_DM_BENCH_NEIGHBOUR"

// neighbour writes again and again and notes how long each write takes. It is a process of its own, as a pod is: within this
// one, its writes would wait for the engine's goroutines, and the engine for its writes.
type neighbour struct {
	Path string // of a device or a file
	// Size of a write in bytes. It goes past the page cache unless Buffered is set.
	Size     int64
	Buffered bool
	// Base, Stride and Around say where the writes go: to Base, Base + Stride, …, and to Base again after Around of them, if
	// it is not 0; in bytes.
	Base, Stride, Around int64
	// Every is the time from the beginning of one write to that of the next, at least.
	Every time.Duration
	// Sync has each write end with an fsync.
	Sync bool
}

// writing is a neighbour that runs.
type writing struct {
	command  *exec.Cmd
	requests io.WriteCloser
	answers  *bufio.Reader
}

func TestMain(m *testing.M) {
	if text := os.Getenv(neighbourVariable); text != "" {
		var n neighbour
		err := json.Unmarshal([]byte(text), &n)
		if err == nil {
			err = n.run(os.Stdin, os.Stdout)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "neighbour:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// start begins. The process ends by stop, at the latest with the test.
func (n neighbour) start(t testing.TB) *writing {
	t.Helper()
	job, err := json.Marshal(n)
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	w := &writing{command: exec.Command(self)}
	w.command.Env = append(os.Environ(), neighbourVariable+"="+string(job))
	w.command.Stderr = os.Stderr
	w.requests, err = w.command.StdinPipe()
	must(t, err)
	answers, err := w.command.StdoutPipe()
	must(t, err)
	w.answers = bufio.NewReader(answers)
	must(t, w.command.Start())
	t.Cleanup(func() { _ = w.requests.Close(); _ = w.command.Wait() })
	w.take(t) // it writes
	return w
}

// take returns what was measured since the last call.
func (w *writing) take(t testing.TB) (taken sample) {
	t.Helper()
	_, err := w.requests.Write([]byte{'\n'})
	must(t, err)
	line, err := w.answers.ReadBytes('\n')
	must(t, err)
	must(t, json.Unmarshal(line, &taken))
	return taken
}

func (w *writing) stop(t testing.TB) {
	t.Helper()
	must(t, errors.Join(w.requests.Close(), w.command.Wait()))
}

// run writes until requests end, and answers each of their lines with what it measured since the last.
func (n neighbour) run(requests io.Reader, answers io.Writer) (err error) {
	flags := os.O_WRONLY | os.O_CREATE
	if !n.Buffered {
		flags |= unix.O_DIRECT
	}
	file, err := os.OpenFile(n.Path, flags, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	block, err := unix.Mmap(-1, 0, int(n.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON) // aligned
	if err != nil {
		return err
	}
	asked := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		for in := bufio.NewScanner(requests); in.Scan(); {
			asked <- struct{}{}
		}
	}()
	taken := sample{}
	for i := int64(0); ctx.Err() == nil; i++ {
		began := time.Now()
		if err := n.write(file, block, i); err != nil {
			return err
		}
		taken = append(taken, time.Since(began))
		select {
		case <-asked:
			if err := json.NewEncoder(answers).Encode(taken); err != nil {
				return err
			}
			taken = taken[:0]
		case <-ctx.Done():
		case <-time.After(time.Until(began.Add(n.Every))):
		}
	}
	return nil
}

func (n neighbour) write(file *os.File, block []byte, i int64) error {
	block[0] = byte(i)
	if n.Around > 0 {
		i %= n.Around
	}
	if _, err := file.WriteAt(block, n.Base+i*n.Stride); err != nil {
		return err
	}
	if n.Sync {
		return file.Sync()
	}
	return nil
}
