//go:build kernel

package skipping

import "testing"

func TestSkipping(t *testing.T) { t.Skip("a reason to skip") }
