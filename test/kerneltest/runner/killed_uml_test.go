//go:build uml

package runner

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A runner that is killed leaves no guest behind, and its files go with the next run.
func TestGuestEndsWithAKilledRunner(t *testing.T) {
	cache := t.TempDir()
	binary := filepath.Join(t.TempDir(), "kernel-test")
	if output, err := exec.Command("go", "build", "-o", binary, "../cmd/kernel-test").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	command := exec.Command(binary, "-memory", "256", "./testdata/waiting")
	command.Env = append(os.Environ(), "CSI_DM_CACHE="+cache)
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	for scanner := bufio.NewScanner(output); scanner.Scan() && !strings.HasPrefix(scanner.Text(), "=== "); {
	}
	pattern := filepath.Join(cache, "kernel-test", workspacePrefix+"*")
	pid := guestPid(t, filepath.Join(pattern, "machine", "kernel-test-0", "pid"))
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait() // killed

	// A zombie has no program any more. It may stay for long: its new parent is not ours.
	executable := fmt.Sprintf("/proc/%d/exe", pid)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Readlink(executable); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("guest %d is still there", pid)
		}
	}
	if left, err := filepath.Glob(pattern); err != nil || len(left) != 1 {
		t.Fatalf("workspaces of the killed run: %q, %v", left, err)
	}
	removeAbandoned(filepath.Join(cache, "kernel-test"))
	if left, err := filepath.Glob(pattern); err != nil || len(left) != 0 {
		t.Errorf("still there after a new run: %q, %v", left, err)
	}
	removeAbandoned("/dev/shm") // where its disks are
}

func guestPid(t *testing.T, pattern string) int {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) != 1 {
		t.Fatalf("pid files: %q, %v", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
