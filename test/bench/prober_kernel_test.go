//go:build kernel

package bench

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// prober writes 4 KiB again and again, past the page cache, and notes how long each write takes.
type prober struct {
	path  string               // of a device or a file
	at    func(i int64) int64  // where the i-th write goes, in bytes
	pause time.Duration        // between two writes
	after func(*os.File) error // what follows each write, within its time; nil: nothing

	mutex sync.Mutex
	all   sample
}

// start begins and returns a function that ends it.
func (p *prober) start(ctx context.Context, t testing.TB) (stop func()) {
	t.Helper()
	file, err := os.OpenFile(p.path, os.O_WRONLY|unix.O_DIRECT, 0)
	must(t, err)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- errors.Join(p.run(ctx, file), file.Close()) }()
	return func() {
		t.Helper()
		cancel()
		must(t, <-done)
	}
}

func (p *prober) run(ctx context.Context, file *os.File) error {
	block, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON) // aligned
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(block) }()
	for i := int64(0); ctx.Err() == nil; i++ {
		block[0] = byte(i)
		began := time.Now()
		_, err := file.WriteAt(block, p.at(i))
		if err == nil && p.after != nil {
			err = p.after(file)
		}
		if err != nil {
			return err
		}
		took := time.Since(began)
		p.mutex.Lock()
		p.all = append(p.all, took)
		p.mutex.Unlock()
		time.Sleep(p.pause)
	}
	return nil
}

// take returns what was measured since the last call.
func (p *prober) take() sample {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	taken := p.all
	p.all = nil
	return taken
}
