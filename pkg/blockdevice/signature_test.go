package blockdevice

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

func TestParseSignatures(t *testing.T) {
	got, err := parseSignatures([]byte(`{"signatures": [
		{"device": "sdb", "offset": "0x438", "type": "ext4", "uuid": "a4a4", "label": null},
		{"device": "sdb", "offset": "0x1fe", "type": "dos", "uuid": null, "label": "x"}]}`))
	want := []Signature{{Type: "ext4", Offset: "0x438", UUID: "a4a4"}, {Type: "dos", Offset: "0x1fe", Label: "x"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, blank := range []string{"", "\n", `{"signatures": []}`, `{}`} {
		if got, err := parseSignatures([]byte(blank)); err != nil || len(got) != 0 {
			t.Errorf("%q: %+v, %v", blank, got, err)
		}
	}
	for _, broken := range []string{"x", `{"signatures": [{}]}`, `[]`, `{"signatures": [{"type": 1}]}`} {
		if got, err := parseSignatures([]byte(broken)); err == nil {
			t.Errorf("%q: %+v", broken, got)
		}
	}
	if types := TypesOf(append(want, want...)); !slices.Equal(types, []string{"dos", "ext4"}) {
		t.Errorf("types %q", types)
	}
}

// TestSignaturesOfRealThings has the real tools write and read signatures, on files.
func TestSignaturesOfRealThings(t *testing.T) {
	for _, tool := range []string{"wipefs", "mkfs.ext4"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is not installed (Debian's util-linux and e2fsprogs have them)", tool)
		}
	}
	ctx := context.Background()
	file := filepath.Join(t.TempDir(), "-device")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 64<<20); err != nil {
		t.Fatal(err)
	}
	expect := func(want ...string) {
		t.Helper()
		got, err := Signatures(ctx, file)
		if err != nil || !slices.Equal(TypesOf(got), want) {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
	}
	expect()
	if output, err := exec.Command("mkfs.ext4", "-q", "-F", "--", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	expect("ext4")
	if err := EraseSignatures(ctx, file, []string{"xfs"}); err != nil {
		t.Error(err)
	}
	expect("ext4")
	if err := EraseSignatures(ctx, file, []string{"ext4"}); err != nil {
		t.Error(err)
	}
	expect()
	for _, hostile := range []string{"", "ext4,xfs", "noext4"} {
		if err := EraseSignatures(ctx, file, []string{hostile}); err == nil {
			t.Errorf("type %q was accepted", hostile)
		}
	}
	if _, err := Signatures(ctx, file+"-missing"); err == nil {
		t.Error("a missing device has signatures")
	}
}

func FuzzParseSignatures(f *testing.F) {
	f.Add([]byte(`{"signatures": [{"device": "sdb", "offset": "0x438", "type": "ext4", "uuid": "a4a4", "label": null}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		signatures, err := parseSignatures(raw)
		for _, s := range signatures {
			if err != nil || s.Type == "" {
				t.Errorf("%q: %+v, %v", raw, s, err)
			}
		}
	})
}
