//go:build kernel

package crashing

import (
	"os"
	"testing"
)

func TestCrashing(t *testing.T) {
	err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
	t.Fatalf("still alive: %v", err)
}
