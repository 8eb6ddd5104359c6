package uml

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
)

func TestHandlesSignal(t *testing.T) {
	received := make(chan os.Signal, 1)
	signal.Notify(received, syscall.SIGALRM)
	defer signal.Stop(received)
	if handles, err := handlesSignal(os.Getpid(), syscall.SIGALRM); !handles || err != nil {
		t.Errorf("this process, which has a handler: %t, %v", handles, err)
	}
	sleep := exec.Command("sleep", "60")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	if handles, err := handlesSignal(sleep.Process.Pid, syscall.SIGALRM); handles || err != nil {
		t.Errorf("a process without one: %t, %v", handles, err)
	}
	if err := sleep.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = sleep.Wait()
	if _, err := handlesSignal(sleep.Process.Pid, syscall.SIGALRM); err == nil {
		t.Error("a process that has ended has signals")
	}
}

func TestCaught(t *testing.T) {
	for _, test := range []struct {
		status string
		want   bool
		bad    bool
	}{
		{"Name:\tx\nSigCgt:\t0000000000002000\nCapInh:\t0\n", true, false},
		{"Name:\tx\nSigIgn:\t0000000000002000\nSigCgt:\t0000000000001000\n", false, false},
		{"Name:\tx\nSigCgt:\tffffffffffffffff", true, false},
		{"Name:\tSigCgt:\n", false, true},
		{"Name:\tx\nSigCgt:\tzz\n", false, true},
	} {
		if got, err := caught([]byte(test.status), syscall.SIGALRM); got != test.want || (err != nil) != test.bad {
			t.Errorf("%q: %t, %v", test.status, got, err)
		}
	}
}
