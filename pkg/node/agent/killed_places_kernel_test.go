//go:build kernel

package agent

import (
	"context"
	"encoding/json"
	"os"
	"syscall"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// inBackground is a failpoint that a goroutine of the pool comes by, whatever is asked of it at that time.
const inBackground = "commit: journal folded"

// killPlace is a place in a step: a failpoint of the engine, or before or after a call of it.
type killPlace struct{ Step, Name string }

func (p killPlace) String() string { return p.Step + ", " + p.Name }

// killedFact is what a process says: that it came to a place, or that a step is acknowledged.
type killedFact struct {
	At      killPlace
	Done    bool
	Objects killedObjects
}

func (p *killedProcess) begin(step string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step = step
}

// reached is called at each place: the process says that it came there, or ends.
func (p *killedProcess) reached(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.step == "" || name == inBackground {
		return
	}
	if name == p.Kills[p.step] {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	p.say(killedFact{At: killPlace{p.step, name}})
}

func (p *killedProcess) say(fact killedFact) {
	line, err := json.Marshal(fact)
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.Write(append(line, '\n'))
}

// watchedPool is a pool whose calls for single volumes are places, before and after them.
type watchedPool struct {
	*thinpool.Pool
	process *killedProcess
}

func (w *watchedPool) CreateVolume(ctx context.Context, spec thinpool.VolumeSpec) (thinpool.Volume, error) {
	w.process.reached("before CreateVolume")
	defer w.process.reached("after CreateVolume")
	return w.Pool.CreateVolume(ctx, spec)
}

func (w *watchedPool) GrowVolume(ctx context.Context, name string, size int64) (thinpool.Volume, error) {
	w.process.reached("before GrowVolume")
	defer w.process.reached("after GrowVolume")
	return w.Pool.GrowVolume(ctx, name, size)
}

func (w *watchedPool) DeleteVolume(ctx context.Context, name string) error {
	w.process.reached("before DeleteVolume")
	defer w.process.reached("after DeleteVolume")
	return w.Pool.DeleteVolume(ctx, name)
}

func (w *watchedPool) Activate(ctx context.Context, name string) (string, error) {
	w.process.reached("before Activate")
	defer w.process.reached("after Activate")
	return w.Pool.Activate(ctx, name)
}

func (w *watchedPool) Deactivate(ctx context.Context, name string) error {
	w.process.reached("before Deactivate")
	defer w.process.reached("after Deactivate")
	return w.Pool.Deactivate(ctx, name)
}
