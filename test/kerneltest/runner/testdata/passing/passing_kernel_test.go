//go:build kernel

package passing

import "testing"

func TestPassing(t *testing.T) {
	if double(2) != 4 {
		t.Error("double")
	}
	t.Log("a quiet remark")
}

func BenchmarkPassing(b *testing.B) {
	for b.Loop() {
		if double(2) != 4 {
			b.Fatal("double")
		}
	}
}
