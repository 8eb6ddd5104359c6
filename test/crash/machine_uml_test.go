//go:build uml

package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/csi-dm/csi-dm/test/crash/history"
	"github.com/csi-dm/csi-dm/test/crash/inspect"
	"github.com/csi-dm/csi-dm/test/crash/job"
	"github.com/csi-dm/csi-dm/test/uml"
)

const (
	guestMemory = 512 << 20
	// bootLimit is far above what one life of a guest takes (some seconds), for machines under load.
	bootLimit = 3 * time.Minute
	// showLimit is how long a hung guest is given to say what it hangs on.
	showLimit = 2 * time.Second
)

// diskSizes of the pool, in bytes.
var diskSizes = []int64{1 << 30, 512 << 20}

// machine is a guest that is booted again and again on the same disks.
type machine struct {
	directory string // of the job, and of the running kernel
	init      string // process 1
	disks     []string
	seed      uint64
	boots     int
	history   *history.History
	total     totals
}

// totals are what was done and looked at in all lives of a machine.
type totals struct {
	acknowledged map[history.Kind]int
	inspections  int
	result       inspect.Result
	cutIn        map[job.Phase]int
	cutOn        map[job.Source]int
}

func newTotals() totals {
	return totals{acknowledged: map[history.Kind]int{}, cutIn: map[job.Phase]int{}, cutOn: map[job.Source]int{}}
}

// newMachine makes the disks, in a directory that should be in memory.
func newMachine(directory, diskDirectory, init string, seed uint64) (*machine, error) {
	m := &machine{
		directory: directory, init: init, seed: seed, history: history.New(),
		total: newTotals(),
	}
	for i, size := range diskSizes {
		disk := filepath.Join(diskDirectory, fmt.Sprintf("disk-%d-%d", seed, i))
		if err := os.WriteFile(disk, nil, 0o600); err != nil {
			return nil, err
		}
		if err := os.Truncate(disk, size); err != nil {
			return nil, err
		}
		m.disks = append(m.disks, disk)
	}
	return m, nil
}

// boot boots the machine, which judges what the last cut has left, and cuts its power as planned; without a plan it powers
// itself off. What was wrong is in the error.
func (m *machine) boot(ctx context.Context, p *plan) error {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	work := job.Job{Seed: m.seed, Boot: m.boots, Source: job.SourceOf(m.seed), History: m.history, Last: p == nil}
	for i := range m.disks {
		work.Disks = append(work.Disks, fmt.Sprintf("/dev/ubd%c", 'a'+i))
	}
	path := filepath.Join(m.directory, fmt.Sprintf("job-%d.json", m.seed))
	if err := work.Write(path); err != nil {
		return err
	}
	m.boots++
	reader, writer := io.Pipe()
	// It lives as long as the guest, which is ended here and not by a context, to be asked first if it hangs.
	guest, err := uml.Machine{
		Name: fmt.Sprintf("crash-%d", m.seed), Memory: guestMemory, Disks: m.disks, Init: m.init,
		Words: []string{job.FileVariable + "=" + path}, Directory: filepath.Join(m.directory, "machine"), Channels: []io.Writer{writer},
	}.Start(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	go func() {
		<-guest.Done() // everything was written by then
		_ = writer.Close()
	}()
	stop := context.AfterFunc(ctx, func() { endHung(guest) }) //nolint:contextcheck // begins when that one has ended
	defer stop()
	phase, failure := m.follow(guest, reader, p)
	end := guest.Wait()
	m.history.Crashed()
	switch {
	case ctx.Err() != nil:
		failure = errors.Join(failure, fmt.Errorf("guest hung in phase %q: %w", phase, context.Cause(ctx)))
	case p != nil && !errors.Is(end, uml.ErrPowerCut), p == nil && end != nil:
		failure = errors.Join(failure, fmt.Errorf("guest ended by itself in phase %q", phase), end)
	case p == nil && phase != job.Finished:
		failure = errors.Join(failure, fmt.Errorf("guest ended in phase %q", phase))
	}
	if m.total.cutIn[phase]++; p != nil {
		m.total.cutOn[work.Source]++
	}
	if failure != nil {
		failure = fmt.Errorf("%w\nconsole:\n%s", failure, guest.ConsoleTail())
	}
	return failure
}

// follow takes the guest's messages in until it has ended, and cuts it as planned. It gives the phase that it ended in.
func (m *machine) follow(guest *uml.Guest, reader io.Reader, p *plan) (phase job.Phase, err error) {
	var watched watch
	if p != nil {
		watched.plan = *p
	}
	for decoder := json.NewDecoder(reader); ; {
		var message job.Message
		if decoder.Decode(&message) != nil {
			// A cut guest ends in the middle of a line. The writer must not block on what is left.
			_, _ = io.Copy(io.Discard, reader)
			return phase, err
		}
		if p != nil && watched.met(message) {
			time.AfterFunc(p.delay, func() { _ = guest.PowerCut() }) // Wait tells
		}
		switch {
		case message.Failed != "":
			err = errors.Join(err, errors.New(message.Failed))
		case message.Phase != "":
			phase = message.Phase
		case message.Result != nil:
			m.total.inspections++
			m.total.result.Volumes += message.Result.Volumes
			m.total.result.Sectors += message.Result.Sectors
		case message.Event != nil:
			if message.Event.Stage == history.Done {
				m.total.acknowledged[message.Event.Kind]++
			}
			err = errors.Join(err, m.history.Apply(*message.Event))
		}
	}
}

// endHung has the kernel show on the console what its tasks are blocked on, and ends the guest.
func endHung(guest *uml.Guest) {
	ctx, cancel := context.WithTimeout(context.Background(), showLimit)
	defer cancel()
	if _, err := guest.Manage(ctx, "sysrq 8"); err == nil { // log level 8: without it only a headline appears
		if _, err = guest.Manage(ctx, "sysrq w"); err == nil {
			<-time.After(showLimit / 4) // it answers before it has printed
		}
	}
	_ = guest.PowerCut()
}
