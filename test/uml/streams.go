package uml

import (
	"errors"
	"io"
	"os"
	"sync"
)

// streams are pipes out of the guest: the console first, then the channels.
type streams struct {
	readers, writers []*os.File
	targets          []io.Writer // nil for nobody
}

func newStreams(targets []io.Writer) (*streams, error) {
	result := &streams{targets: targets}
	for range targets {
		reader, writer, err := os.Pipe()
		if err != nil {
			return nil, errors.Join(err, result.closeAll())
		}
		result.readers, result.writers = append(result.readers, reader), append(result.writers, writer)
	}
	return result, nil
}

// copy copies all streams until the last writer of each is gone, the first one to tail too.
func (s *streams) copy(tail io.Writer) error {
	failures := make([]error, len(s.readers))
	var group sync.WaitGroup
	for i, reader := range s.readers {
		targets := make([]io.Writer, 0, 2)
		if i == 0 {
			targets = append(targets, tail)
		}
		if s.targets[i] != nil {
			targets = append(targets, s.targets[i])
		}
		group.Go(func() { failures[i] = errors.Join(drain(reader, targets), reader.Close()) })
	}
	group.Wait()
	return errors.Join(failures...)
}

// drain reads to the end whatever happens, so that the guest never waits for a reader that gave up. A target that failed
// is written to no more; its error is returned at the end.
func drain(reader io.Reader, targets []io.Writer) error {
	failures := make([]error, len(targets)+1)
	buffer := make([]byte, 32<<10)
	for {
		n, err := reader.Read(buffer)
		for i, target := range targets {
			if n > 0 && failures[i] == nil {
				_, failures[i] = target.Write(buffer[:n])
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				failures[len(targets)] = err
			}
			return errors.Join(failures...)
		}
	}
}

func (s *streams) closeWriters() {
	for _, writer := range s.writers {
		_ = writer.Close()
	}
}

func (s *streams) closeAll() error {
	s.closeWriters()
	var failures []error
	for _, reader := range s.readers {
		failures = append(failures, reader.Close())
	}
	return errors.Join(failures...)
}
