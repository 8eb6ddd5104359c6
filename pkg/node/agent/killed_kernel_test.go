//go:build kernel

package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestKilledInCalls kills the process at every failpoint of the engine, and around every call of the engine, that a volume's life
// comes by: the agent makes it, the CSI service stages, publishes, unpublishes and unstages it, the agent deletes it. The next process
// is asked the same again, as the API server's objects and kubelet do, and must come to the same end: what was written is there, and
// at last no volume, thin device, block device, mount or directory.
func TestKilledInCalls(t *testing.T) {
	kerneltest.CheckClean(t)
	config := thinpool.Config{
		Name: "fast", BlockSize: 64 << 10, OverprovisionMilli: 100_000, ErrorIfNoSpace: true, DiscardPassdown: true,
		Source: thinpool.Source{Devices: []string{kerneltest.Disk(t, 1<<30)}},
	}
	kubelet, err := os.MkdirTemp(kerneltest.Scratch(t), "kubelet-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(kubelet) })
	job := killedJob{Config: config, Kubelet: kubelet, Size: 64 << 20}

	whole := runKilled(t, job)
	if whole.killed || whole.next != len(lifeSteps) {
		t.Fatalf("without a kill the life ends at step %d (killed: %t)", whole.next, whole.killed)
	}
	emptied(t, job)
	seen := map[string]bool{}
	for i, place := range whole.places {
		seen[place.Step] = true
		t.Run(strings.ReplaceAll(place.String(), " ", "-"), func(t *testing.T) {
			job := job
			job.Kill, job.Size = place, job.Size+int64(i+1)<<20
			first := runKilled(t, job)
			if !first.killed {
				t.Fatal("the process did not come there")
			}
			job.Kill, job.From, job.ThinID = killPlace{}, first.next, first.thinID
			if second := runKilled(t, job); second.killed || second.next != len(lifeSteps) {
				t.Fatalf("asked again from %s on, the life ends at step %d", lifeSteps[first.next].name, second.next)
			}
			emptied(t, job)
		})
		if t.Failed() {
			break
		}
	}
	for _, step := range lifeSteps {
		if !seen[step.name] {
			t.Errorf("no process was killed in %s", step.name)
		}
	}
	t.Logf("killed at %d places: %v", len(whole.places), whole.places)
	shutDown(t, config)
}

// killedResult is what a process said before it ended.
type killedResult struct {
	killed bool
	// next is the number of the first step that was not acknowledged.
	next   int
	thinID *int64
	places []killPlace
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
	result := killedResult{next: job.From, thinID: job.ThinID}
	for lines := bufio.NewScanner(output); lines.Scan(); {
		var said killedFact
		if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
			t.Fatalf("the process said %q", lines.Text())
		}
		if said.Done {
			result.next++
			result.thinID = said.ThinID
		} else if !slices.Contains(result.places, said.At) {
			result.places = append(result.places, said.At)
		}
	}
	err = command.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		result.killed = true
	} else if err != nil {
		t.Fatalf("the process: %v", err)
	}
	return result
}

// emptied opens the pool after a life and sees that nothing of it is left: no volume in the registry, no thin device that it does
// not know, none that it misses, no block device of a volume, no mount, no directory.
func emptied(t *testing.T, job killedJob) {
	t.Helper()
	pool, closePool := openKilled(t, job.Config)
	defer closePool()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var status thinpool.Status
	for {
		var err error
		if status, err = pool.Status(ctx); err != nil {
			t.Fatal(err)
		}
		if status.PendingDeletions == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond) // they are made in the background
	}
	if volumes := pool.Volumes(); len(volumes) > 0 || status.LostVolumes > 0 || status.UnknownThinDevices > 0 {
		t.Errorf("%d volumes are left, %d are lost, %d thin devices are unknown", len(volumes), status.LostVolumes, status.UnknownThinDevices)
	}
	names, err := filepath.Glob("/sys/block/dm-*/dm/name")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range names {
		if name, _ := os.ReadFile(path); strings.Contains(string(name), killedVolume) {
			t.Errorf("device %s is left", name)
		}
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), job.Kubelet) {
		t.Errorf("a mount is left (%v):\n%s", err, mounts)
	}
	if _, err := os.Lstat(job.target()); !os.IsNotExist(err) {
		t.Errorf("the pod's directory is left: %v", err)
	}
}

// shutDown takes the pool's devices away.
func shutDown(t *testing.T, config thinpool.Config) {
	t.Helper()
	pool, closePool := openKilled(t, config)
	defer closePool()
	if err := pool.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func openKilled(t *testing.T, config thinpool.Config) (*thinpool.Pool, func()) {
	t.Helper()
	dm, err := devicemapper.Open()
	if err != nil {
		t.Fatal(err)
	}
	pool, err := thinpool.Open(t.Context(), dm, config)
	if err != nil {
		t.Fatal(err)
	}
	return pool, func() {
		if err := errors.Join(pool.Close(), dm.Close()); err != nil && !errors.Is(err, thinpool.ErrPoolClosed) {
			t.Error(fmt.Errorf("close: %w", err))
		}
	}
}
