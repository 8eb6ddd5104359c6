package volumeid_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

var hostile = []string{
	"", ".", "..", "../etc", "a/b", "a/../b", "a..b", "/", "-rf", "a-", ".a", "a.", "a.-b", "A", "a b", "a,ro", "a=b", "a%2fb",
	"a\n", "a\x00b", "\x00", "é", "a\u202eb", "a;b", "$(a)", "`a`", "a'b", `a"b`, `a\b`, strings.Repeat("a", 97), strings.Repeat("a", 10<<10),
}

func TestCheck(t *testing.T) {
	for _, id := range hostile {
		err := volumeid.Check("volume_id", id)
		var refused *volumeid.Error
		if !errors.As(err, &refused) || refused.Field != "volume_id" || !strings.Contains(err.Error(), "volume_id") || len(err.Error()) > 400 {
			t.Errorf("Check(%.40q) = %v", id, err)
		}
	}
	for _, id := range []string{
		"a", "0", "pvc-3b9d1f6e-0f5c-4e0c-9d44-000000000000", "a.b-c", strings.Repeat("a", 96),
		v1alpha1.VolumeName("pvc-3b9d1f6e-0f5c-4e0c-9d44-000000000000", "node-1.example.org"),
		v1alpha1.VolumeName(strings.Repeat("x", 80), "n"),
	} {
		if err := volumeid.Check("volume_id", id); err != nil {
			t.Error(err)
		}
	}
}

func TestCheckSnapshot(t *testing.T) {
	for _, id := range append([]string{strings.Repeat("a", 81)}, hostile...) {
		if err := volumeid.CheckSnapshot("snapshot_id", id); err == nil || !strings.Contains(err.Error(), "snapshot_id") {
			t.Errorf("CheckSnapshot(%.40q) = %v", id, err)
		}
	}
	for _, id := range []string{"a", "snapshot-3b9d1f6e-0f5c-4e0c-9d44-000000000000", "a.snapshot", strings.Repeat("a", 80)} {
		if err := volumeid.CheckSnapshot("snapshot_id", id); err != nil {
			t.Error(err)
		}
	}
}

// A snapshot's thin device has a name that no volume can have, and that the pool takes.
func TestSnapshotDevice(t *testing.T) {
	for _, id := range []string{"a", "a.snapshot", strings.Repeat("a", 80)} {
		device := volumeid.SnapshotDevice(id)
		if volumeid.Check("volume_id", device) == nil {
			t.Errorf("a volume may be called %q, the device of snapshot %q", device, id)
		}
		if len(device) > volumeid.MaximumLength {
			t.Errorf("%q has %d characters", device, len(device))
		}
	}
}

func TestCheckPool(t *testing.T) {
	for _, name := range append([]string{"a.b", strings.Repeat("a", 41)}, hostile...) {
		if err := volumeid.CheckPool("pool", name); err == nil {
			t.Errorf("CheckPool(%.40q) = nil", name)
		}
	}
	for _, name := range []string{"default", "a", "fast-1", strings.Repeat("a", 40)} {
		if err := volumeid.CheckPool("pool", name); err != nil {
			t.Error(err)
		}
	}
}

// What passes is one component of a path, and harmless in every other place that a handle ends up in.
func FuzzCheck(f *testing.F) {
	for _, id := range append([]string{"pvc-1", "a.b"}, hostile...) {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if volumeid.Check("volume_id", id) != nil {
			return
		}
		if filepath.Join("/x", id) != "/x/"+id || filepath.Dir(filepath.Join("/x", id)) != "/x" {
			t.Errorf("%q is not one component of a path", id)
		}
		if strings.ContainsAny(id, ",=:\"'`$%\\ \n\t\x00") || strings.HasPrefix(id, "-") || len(id) > 96 {
			t.Errorf("%q has what options, arguments or device names take for their own", id)
		}
	})
}
