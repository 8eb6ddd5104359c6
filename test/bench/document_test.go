package bench

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "document.md")
	place := Place{DocumentBegin, DocumentEnd}
	other := "before\n" + clusterPlace.Begin + "\nothers\n" + clusterPlace.End + "\n"
	if err := os.WriteFile(path, []byte(other+place.Begin+"\nold\n"+place.End+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it finds its place again
		if err := place.Replace(path, "\nnew\n"); err != nil {
			t.Fatal(err)
		}
	}
	want := other + place.Begin + "\n\nnew\n" + place.End + "\nafter\n"
	if content, err := os.ReadFile(path); err != nil || string(content) != want {
		t.Errorf("got %q, %v", content, err)
	}
	if err := os.WriteFile(path, []byte("nothing marked\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := place.Replace(path, "\nnew\n"); err == nil {
		t.Error("a document without a place was written")
	}
}
