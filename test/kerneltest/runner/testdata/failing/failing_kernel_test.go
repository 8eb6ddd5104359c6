//go:build kernel

package failing

import "testing"

func TestFine(t *testing.T) {}

func TestFailing(t *testing.T) {
	t.Run("deep", func(t *testing.T) { t.Error("a reason to fail") })
}
