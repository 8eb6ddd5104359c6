//go:build uml

package uml

import (
	"bytes"
	"context"
	"errors"
	"io"
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

// await waits until the guest has written text to its console.
func await(t *testing.T, guest *Guest, text string) {
	t.Helper()
	for !strings.Contains(guest.ConsoleTail(), text) {
		select {
		case <-guest.Done():
			t.Fatalf("ended before it said %q: %v", text, guest.Wait())
		case <-time.After(10 * time.Millisecond):
		}
	}
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
	await(t, writing, "testinit: cut me")
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

func TestChannels(t *testing.T) {
	var first, second bytes.Buffer
	guest, _ := boot(t, bootLimit, "channels", func(m *Machine) { m.Channels = []io.Writer{&first, &second} })
	if err := guest.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := first.String(); got != "first\n\x00\tend" {
		t.Errorf("first channel: %q", got)
	}
	if got := second.String(); got != strings.Repeat("0123456789\n", 100_000) {
		t.Errorf("second channel differs: %d bytes", len(got))
	}
}

func TestManage(t *testing.T) {
	guest, _ := boot(t, bootLimit, "hang", nil)
	await(t, guest, "testinit: hang")
	version, err := guest.Manage(t.Context(), "version")
	if err != nil || !strings.Contains(version, "Linux") {
		t.Errorf("version: %q, %v", version, err)
	}
	if _, err := guest.Manage(t.Context(), "nonsense"); !errors.Is(err, ErrManagement) {
		t.Errorf("nonsense: %v", err)
	}
	if _, err := guest.Manage(t.Context(), "sysrq w"); err != nil {
		t.Errorf("sysrq: %v", err)
	}
	await(t, guest, "Show Blocked State")
	if err := guest.PowerCut(); err != nil {
		t.Error(err)
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
