package reaper

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain lets the test binary be the reaper, because reaping takes every child of a process.
func TestMain(m *testing.M) {
	if script := os.Getenv("REAPER_SCRIPT"); script != "" {
		status, err := Run("/bin/sh", []string{"-c", script})
		if err != nil {
			panic(err)
		}
		os.Exit(status)
	}
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		status int
		output string
	}{
		"success":                        {"echo hello", 0, "hello\n"},
		"status is passed on":            {"exit 42", 42, ""},
		"a signal is 128 and its number": {"kill -KILL $$", 128 + 9, ""},
		"standard input is passed on":    {"cat", 0, "input"},
	} {
		t.Run(name, func(t *testing.T) {
			command := exec.Command(os.Args[0])
			command.Env = append(os.Environ(), "REAPER_SCRIPT="+test.script)
			command.Stdin = strings.NewReader("input")
			output, _ := command.Output()
			if status := command.ProcessState.ExitCode(); status != test.status || string(output) != test.output {
				t.Errorf("status %d and output %q, want %d and %q", status, output, test.status, test.output)
			}
		})
	}
}
