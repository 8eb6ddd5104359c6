//go:build kernel

package thinpool_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// childVariable holds the job of a test binary that was started to be killed, as JSON.
const childVariable = "CSI_DM_THINPOOL_CHILD"

// childJob is what a child does with a pool until it dies or is through.
type childJob struct {
	Config thinpool.Config
	// Failpoint at which it kills itself; empty: none.
	Failpoint string
	// Script: "life" is one volume's life after the other, "load" is many at once without end.
	Script string
	// Seed of what "load" does at random, or which sizes "life" takes.
	Seed uint64
}

// fact is what a child says: that it begins an operation, and that the operation was acknowledged.
type fact struct {
	Op, Name string // "create", "delete"
	Done     bool
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		var job childJob
		if err := json.Unmarshal([]byte(text), &job); err != nil {
			panic(err)
		}
		if err := job.run(); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	status := m.Run()
	if left := unvisited(); status == 0 && len(left) > 0 {
		fmt.Printf("no test kills a process at these failpoints: %q\n", left)
		status = 1
	}
	os.Exit(status)
}

func (j childJob) run() error {
	thinpool.SetMaximumBases(1)
	thinpool.SetDeletionSlice(2) // so that small volumes are deleted in the background, too
	thinpool.SetFailpoint(func(name string) {
		if name == j.Failpoint {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dm, err := devicemapper.Open()
	if err != nil {
		return err
	}
	switch j.Script {
	case "repair":
		return j.repair(ctx, dm)
	case "hold":
		return j.hold(ctx, dm)
	}
	p, err := thinpool.Open(ctx, dm, j.Config)
	if err != nil {
		return err
	}
	say := reporter()
	switch j.Script {
	case "life":
		err = life(ctx, p, say, int64(j.Seed)*mib)
	case "format":
		err = formatting(ctx, p, say)
	case "grow":
		err = growing(ctx, p)
	case "snapshot":
		_, err = p.CreateVolume(ctx, thinpool.VolumeSpec{Name: "snapshot", Source: "source"})
	case "group":
		_, err = p.SnapshotGroup(ctx, groupOf("snapshot", "a", "b", "c"))
	case "owner":
		_, err = p.CreateVolume(ctx, owned("csi-3"))
	case "load":
		err = load(ctx, p, say, j.Seed)
	}
	return errors.Join(err, p.Close())
}

// reporter gives a function that writes facts to the parent, whole and at once.
func reporter() func(fact) {
	var mutex sync.Mutex
	return func(f fact) {
		line, err := json.Marshal(f)
		if err != nil {
			panic(err)
		}
		mutex.Lock()
		defer mutex.Unlock()
		_, _ = os.Stdout.Write(append(line, '\n'))
	}
}

// life makes and deletes volumes of two sizes, which more makes differ from those of another child: each needs new bases,
// and an old one goes.
func life(ctx context.Context, p *thinpool.Pool, say func(fact), more int64) error {
	small, large := 20*mib+more, 64*mib+more
	for _, spec := range []thinpool.VolumeSpec{ext4("a", large), ext4("b", large), ext4("c", small), ext4("d", large)} {
		if err := doCreate(ctx, p, say, spec); err != nil {
			return err
		}
	}
	active, err := p.Activate(ctx, "b")
	if err != nil {
		return err
	}
	for name, source := range map[string]string{"of-active": "b", "of-inactive": "a"} {
		if err := doCreate(ctx, p, say, thinpool.VolumeSpec{Name: name, Source: source}); err != nil {
			return err
		}
	}
	if _, err := p.GrowVolume(ctx, "b", large+32*mib); err != nil {
		return err
	}
	if err := writeBehind(active, large); err != nil {
		return err
	}
	for _, name := range []string{"b", "c", "of-inactive"} {
		if err := doDelete(ctx, p, say, name); err != nil {
			return err
		}
	}
	if err := doCreate(ctx, p, say, ext4("b", small)); err != nil {
		return err
	}
	if _, err := p.Usage(ctx); err != nil {
		return err
	}
	return pendingNone(ctx, p)
}

// writeBehind writes some blocks of a volume that has grown, behind its file system's end. No other volume ever has them: they
// are discarded when it is deleted.
func writeBehind(device string, end int64) error {
	file, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(make([]byte, 256<<10), end)
	return errors.Join(err, file.Sync(), file.Close())
}

// load creates, activates, grows, snapshots and deletes from many goroutines until it is killed.
func load(ctx context.Context, p *thinpool.Pool, say func(fact), seed uint64) error {
	const workers = 16
	failures := make(chan error, workers)
	for worker := range workers {
		go func() {
			r := rand.New(rand.NewPCG(seed, uint64(worker)))
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d-%d-%d", seed, worker, i)
				if err := doCreate(ctx, p, say, ext4(name, []int64{32, 64}[r.IntN(2)]*mib)); err != nil {
					failures <- err
					return
				}
				if r.IntN(2) == 0 {
					if _, err := p.Activate(ctx, name); err != nil {
						failures <- err
						return
					}
				}
				if err := multiply(ctx, p, say, name, r); err != nil {
					failures <- err
					return
				}
				if r.IntN(3) > 0 {
					if err := doDelete(ctx, p, say, name); err != nil {
						failures <- err
						return
					}
				}
			}
		}()
	}
	return <-failures
}

// multiply now and then grows a volume, takes a snapshot of it, or both.
func multiply(ctx context.Context, p *thinpool.Pool, say func(fact), name string, r *rand.Rand) error {
	if r.IntN(3) == 0 {
		if _, err := p.GrowVolume(ctx, name, 96*mib); err != nil {
			return err
		}
	}
	if r.IntN(3) > 0 {
		return nil
	}
	if err := doCreate(ctx, p, say, thinpool.VolumeSpec{Name: name + "-snapshot", Source: name}); err != nil || r.IntN(2) == 0 {
		return err
	}
	return doDelete(ctx, p, say, name+"-snapshot")
}

func doCreate(ctx context.Context, p *thinpool.Pool, say func(fact), spec thinpool.VolumeSpec) error {
	say(fact{Op: "create", Name: spec.Name})
	_, err := p.CreateVolume(ctx, spec)
	if err == nil {
		say(fact{Op: "create", Name: spec.Name, Done: true})
	}
	return err
}

func doDelete(ctx context.Context, p *thinpool.Pool, say func(fact), name string) error {
	say(fact{Op: "delete", Name: name})
	err := p.DeleteVolume(ctx, name)
	if err == nil {
		say(fact{Op: "delete", Name: name, Done: true})
	}
	return err
}

// outcome is what must be true after a child has died.
type outcome struct {
	must map[string]bool // volumes that were acknowledged to be there (true) or gone (false)
	may  map[string]bool // volumes about which nothing was acknowledged
	// killed: the child ended itself, or was ended.
	killed bool
	// acknowledged operations of this child alone.
	acknowledged int
}

// runChild runs a child until it dies. After that many acknowledged operations, if there is a limit, it is killed.
func runChild(t testing.TB, job childJob, known outcome, limit int) outcome {
	t.Helper()
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, os.Args[0])
	command.Env = append(os.Environ(), childVariable+"="+string(text))
	command.Stderr = os.Stderr
	output := get(command.StdoutPipe())(t)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	result := readFacts(t, output, known, func(acknowledged int) {
		if acknowledged == limit {
			_ = command.Process.Kill()
		}
	})
	err = command.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		result.killed = true
		visit(job.Failpoint)
	} else if err != nil {
		t.Fatalf("child: %v", err)
	}
	return result
}

func readFacts(t testing.TB, output io.Reader, known outcome, each func(acknowledged int)) outcome {
	t.Helper()
	o := outcome{must: map[string]bool{}, may: map[string]bool{}}
	for name, there := range known.must {
		o.must[name] = there
	}
	for name := range known.may {
		o.may[name] = true
	}
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		var f fact
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			t.Fatalf("child said %q", lines.Text())
		}
		if f.Done {
			delete(o.may, f.Name)
			o.must[f.Name] = f.Op == "create"
			o.acknowledged++
			each(o.acknowledged)
		} else {
			delete(o.must, f.Name)
			o.may[f.Name] = true
		}
	}
	return o
}

// check compares a pool that was opened again with what was acknowledged.
func (o outcome) check(t testing.TB, p *thinpool.Pool) {
	t.Helper()
	there := map[string]bool{}
	for _, v := range p.Volumes() {
		there[v.Name] = true
		if _, known := o.must[v.Name]; !known && !o.may[v.Name] {
			t.Errorf("volume %s was never asked for", v.Name)
		}
	}
	for name, must := range o.must {
		if there[name] != must {
			t.Errorf("volume %s is there: %t; acknowledged was %t", name, there[name], must)
		}
	}
}
