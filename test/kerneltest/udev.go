//go:build linux

package kerneltest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	udevDaemon   = "/lib/systemd/systemd-udevd"
	udevPatience = 60 * time.Second
	// settlePatience is how long udev may take for some hundred events in a guest on a busy machine.
	settlePatience = 5 * time.Minute
)

// Udev is the host's udev, with the rules that packages brought, running in the guest.
type Udev struct {
	t      testing.TB
	daemon *exec.Cmd
	output bytes.Buffer
	ended  chan error
}

// StartUdev starts udev, which no other test has, and has it look at every block device, as it does at boot. The end of the
// test ends it and removes what it has put into /dev and /run.
func StartUdev(t testing.TB) *Udev {
	t.Helper()
	requireGuest(t)
	before, err := filepath.Glob("/dev/*")
	if err != nil {
		t.Fatal(err)
	}
	u := &Udev{t: t, daemon: exec.Command(udevDaemon), ended: make(chan error, 1)}
	u.daemon.Env = []string{"PATH=" + os.Getenv("PATH")}
	u.daemon.Stdout, u.daemon.Stderr = &u.output, &u.output
	u.daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := u.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { u.ended <- u.daemon.Wait() }()
	t.Cleanup(func() { u.stop(before) })
	for deadline := time.Now().Add(udevPatience); ; time.Sleep(20 * time.Millisecond) {
		output, err := exec.Command("udevadm", "control", "--ping", "--timeout=30").CombinedOutput()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("udev does not answer: %v: %s", err, output)
		}
	}
	u.Command("udevadm", "trigger", "--action=add", "--subsystem-match=block")
	u.Settle()
	return u
}

// Settle waits until udev has dealt with every event.
func (u *Udev) Settle() {
	u.t.Helper()
	u.Command("udevadm", "settle", fmt.Sprintf("--timeout=%d", int(settlePatience.Seconds())))
}

// Properties is what udev has found out about a block device, dm-3 for example.
func (u *Udev) Properties(device string) map[string]string {
	u.t.Helper()
	properties := make(map[string]string)
	for line := range strings.Lines(u.Command("udevadm", "info", "--query=property", "--path=/sys/class/block/"+device)) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			properties[name] = value
		}
	}
	return properties
}

// Command runs a program as on a host with udev: dmsetup waits for udev to say that it is done. It gives what it prints.
func (u *Udev) Command(name string, arguments ...string) string {
	u.t.Helper()
	command := exec.Command(name, arguments...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "DM_DISABLE_UDEV=") {
			command.Env = append(command.Env, variable)
		}
	}
	stop := time.AfterFunc(2*settlePatience, func() { _ = command.Process.Kill() })
	defer stop.Stop()
	output, err := command.CombinedOutput()
	if err != nil {
		u.t.Fatalf("%s %s: %v: %s", name, strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

// stop ends udev and removes from /dev all that was not there before, but for the kernel's own nodes.
func (u *Udev) stop(before []string) {
	_ = unix.Kill(u.daemon.Process.Pid, unix.SIGTERM)
	select {
	case err := <-u.ended:
		if err != nil {
			u.t.Errorf("udev: %v", err)
		}
	case <-time.After(udevPatience):
		u.t.Error("udev does not end")
		_ = unix.Kill(-u.daemon.Process.Pid, unix.SIGKILL)
		<-u.ended
	}
	if output := strings.TrimSpace(u.output.String()); output != "" {
		u.t.Logf("udev: %s", output)
	}
	known := make(map[string]bool)
	for _, path := range before {
		known[path] = true
	}
	now, err := filepath.Glob("/dev/*")
	if err != nil {
		u.t.Error(err)
	}
	for _, path := range now {
		info, err := os.Lstat(path)
		if err == nil && !known[path] && (info.IsDir() || info.Mode().Type() == os.ModeSymlink) {
			if err := os.RemoveAll(path); err != nil {
				u.t.Error(err)
			}
		}
	}
	if err := os.RemoveAll("/run/udev"); err != nil {
		u.t.Error(err)
	}
}
