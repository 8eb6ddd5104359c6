//go:build kernel

package orphaning

import (
	"os"
	"os/exec"
	"testing"
)

// TestOrphaning leaves a process behind that holds the output.
func TestOrphaning(t *testing.T) {
	command := exec.Command("sleep", "1000")
	command.Stdout = os.Stdout
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
}
