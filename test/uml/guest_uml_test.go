//go:build uml

package uml

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bootLimit is far above what a boot takes (1.5 s), so that a loaded machine fails no test.
const bootLimit = time.Minute

func TestMain(m *testing.M) {
	directory, err := os.MkdirTemp("", "uml-test-")
	if err != nil {
		panic(err)
	}
	testInit = filepath.Join(directory, "testinit")
	build := exec.Command("go", "build", "-o", testInit, "./internal/testinit")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		panic(string(output))
	}
	status := m.Run()
	_ = os.RemoveAll(directory)
	os.Exit(status)
}

var testInit string

func boot(t *testing.T, limit time.Duration, job string, change func(*Machine)) (*Guest, *bytes.Buffer) {
	t.Helper()
	console := &bytes.Buffer{}
	machine := Machine{
		Name: "test", Memory: 128 << 20, Init: testInit, Words: []string{"TESTINIT=" + job}, Directory: t.TempDir(), Console: console,
	}
	if change != nil {
		change(&machine)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	guest, err := machine.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = guest.Wait()
		if alive, err := groupAlive(guest.Pid()); alive || err != nil {
			t.Errorf("processes of the guest left: %v, %v", alive, err)
		}
		if t.Failed() {
			t.Logf("console:\n%s", guest.ConsoleTail())
		}
	})
	return guest, console
}

func TestPowerOff(t *testing.T) {
	guest, console := boot(t, bootLimit, "nothing", nil)
	if err := guest.Wait(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(console.String(), "testinit: done") || !strings.Contains(guest.ConsoleTail(), "testinit: done") {
		t.Error("the end of the console is missing")
	}
	if err := guest.PowerCut(); err != nil {
		t.Errorf("cut of an ended guest: %v", err)
	}
}

func TestCrash(t *testing.T) {
	guest, _ := boot(t, bootLimit, "fail", nil)
	if err := guest.Wait(); !errors.Is(err, ErrCrashed) {
		t.Errorf("got %v, want ErrCrashed", err)
	}
	if !strings.Contains(guest.ConsoleTail(), "Kernel panic") {
		t.Error("the panic is not on the console")
	}
}

func TestHungGuestEndsAtDeadline(t *testing.T) {
	start := time.Now()
	guest, _ := boot(t, 3*time.Second, "hang", nil)
	err := guest.Wait()
	if !errors.Is(err, ErrPowerCut) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want ErrPowerCut and DeadlineExceeded", err)
	}
	if took := time.Since(start); took < 3*time.Second || took > 10*time.Second {
		t.Errorf("ended after %s, deadline was 3 s", took)
	}
}

func TestMountAndShare(t *testing.T) {
	// Below /tmp, which the guest covers with a tmpfs of its own.
	share, err := os.MkdirTemp("/tmp", "uml-share-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(share)
	guest, _ := boot(t, bootLimit, "mount", func(m *Machine) { m.Words = append(m.Words, "SHARE="+share) })
	if err := guest.Wait(); err != nil {
		t.Fatal(err)
	}
	if answer, err := os.ReadFile(share + "/answer"); err != nil || string(answer) != "from the guest" {
		t.Errorf("got %q, %v", answer, err)
	}
}

func TestModules(t *testing.T) {
	guest, console := boot(t, bootLimit, "modules", nil)
	if err := guest.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, module := range []string{"dm_mod", "dm_thin_pool", "dm_persistent_data", "loop"} {
		if !strings.Contains(console.String(), module+" ") {
			t.Errorf("module %s is not loaded", module)
		}
	}
}

func TestPowerCutKeepsWhatWasFlushed(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 16<<20); err != nil {
		t.Fatal(err)
	}
	withDisk := func(m *Machine) { m.Disks = []string{disk} }

	writing, _ := boot(t, bootLimit, "write", withDisk)
	for !strings.Contains(writing.ConsoleTail(), "testinit: cut me") {
		select {
		case <-writing.Done():
			t.Fatalf("ended before the cut: %v", writing.Wait())
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := writing.PowerCut(); err != nil {
		t.Fatal(err)
	}
	if err := writing.Wait(); !errors.Is(err, ErrPowerCut) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want ErrPowerCut alone", err)
	}

	reading, console := boot(t, bootLimit, "read", withDisk)
	if err := reading.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := `testinit: size 16777216 flushed "f" unflushed "\x00"`; !strings.Contains(console.String(), want) {
		t.Errorf("no %q on the console", want)
	}
}

func TestStartRefusesMissingDisk(t *testing.T) {
	machine := Machine{Name: "test", Init: testInit, Directory: t.TempDir(), Disks: []string{"/nonexistent/disk"}}
	if guest, err := machine.Start(context.Background()); !errors.Is(err, ErrInvalidMachine) {
		t.Errorf("got %v", err)
		if err == nil {
			_ = guest.PowerCut()
		}
	}
}
