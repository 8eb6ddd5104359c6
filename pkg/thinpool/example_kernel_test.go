//go:build kernel

package thinpool_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// TestExample runs the package's example for real.
func TestExample(t *testing.T) {
	kerneltest.CheckClean(t)
	file := filepath.Join(kerneltest.Scratch(t), "example.img")
	for range 2 {
		if err := tryOut(file); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Error(err)
	}
}
