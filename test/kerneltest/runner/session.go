package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/csi-dm/csi-dm/test/kerneltest/job"
	"github.com/csi-dm/csi-dm/test/uml"
)

const (
	// bootLimit and powerOffLimit are far above what these take (two seconds), for machines under load.
	bootLimit     = time.Minute
	powerOffLimit = time.Minute
	// showLimit is how long a hung guest is given to say what it hangs on.
	showLimit = 2 * time.Second
	// endless is the limit of a person at a shell.
	endless = 365 * 24 * time.Hour
)

var (
	// errHung is the fate of a guest that missed a deadline.
	errHung = errors.New("guest hung")
	// errGuest is the fate of a guest that said it cannot do its job.
	errGuest = errors.New("guest failed")
)

// session is one life of a guest.
type session struct {
	guest     *uml.Guest
	events    chan job.Event
	stepLimit time.Duration
}

// startSession boots the machine. The session's events must be read to their end by run.
func startSession(ctx context.Context, machine uml.Machine, stepLimit time.Duration) (*session, error) {
	reader, writer := io.Pipe()
	machine.Channels = []io.Writer{writer}
	guest, err := machine.Start(ctx)
	if err != nil {
		return nil, err
	}
	result := &session{guest: guest, events: make(chan job.Event), stepLimit: stepLimit}
	go func() {
		<-guest.Done() // everything was written by then
		_ = writer.Close()
	}()
	go func() {
		defer close(result.events)
		for decoder := json.NewDecoder(reader); ; {
			var event job.Event
			if err := decoder.Decode(&event); err != nil {
				// A cut guest ends in the middle of a line. The writer must not block on what is left.
				_, _ = io.Copy(io.Discard, reader)
				return
			}
			result.events <- event
		}
	}()
	return result, nil
}

// run hands the events to handle until the guest has ended. It returns nil for a guest that did its job and powered itself
// off.
func (s *session) run(ctx context.Context, handle func(job.Event)) error {
	timer := time.NewTimer(bootLimit)
	defer timer.Stop()
	stage, limit := "booting", bootLimit
	var fate error
	for {
		select {
		case event, ok := <-s.events:
			if !ok {
				end := s.guest.Wait()
				if errors.Is(fate, errHung) && errors.Is(end, uml.ErrPowerCut) {
					return fate // the cut was its consequence
				}
				return errors.Join(fate, end)
			}
			switch event.Kind {
			case job.Started:
				stage, limit = event.Step, s.stepLimit
			case job.Ended, job.Booted:
				stage, limit = "powering off", powerOffLimit
			case job.Failed:
				fate = fmt.Errorf("%w: %s", errGuest, event.Reason)
			}
			if event.Kind != job.Output {
				timer.Reset(limit)
			}
			handle(event)
		case <-timer.C:
			fate = fmt.Errorf("%w: %s for %s", errHung, stage, limit)
			// This goroutine is the one that takes the events, which the guest may wait for while it ends.
			go s.endHung(context.WithoutCancel(ctx))
		}
	}
}

// endHung has the kernel show on the console what its tasks are blocked on, and ends the guest.
func (s *session) endHung(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, showLimit)
	defer cancel()
	_, err := s.guest.Manage(ctx, "sysrq 8") // log level 8: without it only a headline appears on the console
	if err == nil {
		_, err = s.guest.Manage(ctx, "sysrq w")
	}
	if err == nil {
		// It answers before it has printed.
		select {
		case <-time.After(showLimit / 4):
		case <-s.guest.Done():
		}
	}
	_ = s.guest.PowerCut() // Wait tells
}
