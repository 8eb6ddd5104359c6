package agent

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

func TestRemembered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "pools.json")
	r, err := loadRemembered(path)
	if err != nil {
		t.Fatal(err)
	}
	settings := v1alpha1.PoolSettings{
		Source: v1alpha1.PoolSource{Devices: []string{"/dev/vdb"}}, BlockSize: "64Ki", MinFreeSpace: "10%",
		Overprovision: ptr.To(resource.MustParse("1.5")), DiscardOnDelete: ptr.To(false),
	}
	if err := r.put("fast", settings); err != nil {
		t.Fatal(err)
	}
	first, err := os.Stat(path)
	if err != nil || first.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", first, err)
	}
	if err := r.put("fast", *settings.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	if second, err := os.Stat(path); err != nil || !os.SameFile(first, second) {
		t.Errorf("written although nothing changed: %v", err)
	}
	again, err := loadRemembered(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := again.get("fast"); !ok || !sameJSON(got, settings) {
		t.Errorf("read back as %+v", got)
	}
	if err := again.forget("fast"); err != nil {
		t.Fatal(err)
	}
	if err := again.forget("fast"); err != nil {
		t.Fatal(err)
	}
	if last, err := loadRemembered(path); err != nil || len(last.names()) != 0 {
		t.Errorf("forgotten, but there is %v, %v", last.names(), err)
	}
}

func TestRememberedFileIsNotLost(t *testing.T) {
	for name, content := range map[string]string{
		"broken": "{", "newer": `{"version": 2, "pools": {}}`, "empty": "", "no version": `{"pools": {}}`,
	} {
		path := filepath.Join(t.TempDir(), "pools.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadRemembered(path); err == nil {
			t.Errorf("%s: no error", name)
		}
		if left, _ := os.ReadFile(path); string(left) != content {
			t.Errorf("%s: the file is now %q", name, left)
		}
	}
}
