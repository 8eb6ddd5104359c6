package thinpool

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

func TestNamesFit(t *testing.T) {
	id := newPoolID()
	longest := strings.Repeat("v", 96)
	if err := validateVolumeName(longest); err != nil {
		t.Fatal(err)
	}
	for _, name := range []devicemapper.Name{id.partName(partRegistry), id.volumeName(longest), id.baseName(1<<24 - 1)} {
		if _, err := devicemapper.ParseName(string(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, uuid := range []devicemapper.UUID{id.partUUID(partRegistry), id.thinUUID(1<<24 - 1)} {
		if _, err := devicemapper.ParseUUID(string(uuid)); err != nil {
			t.Errorf("%s: %v", uuid, err)
		}
	}
}

// TestNamesDoNotCollide: no volume can have the name of a part of the pool or of a base.
func TestNamesDoNotCollide(t *testing.T) {
	id := newPoolID()
	seen := map[devicemapper.Name]string{id.baseName(1): "base 1"}
	for _, part := range []string{partRegistry, partMetadata, partData, partPool} {
		seen[id.partName(part)] = part
	}
	for _, volume := range []string{"registry", "metadata", "data", "pool", "base-1", "volume-a", "a"} {
		name := id.volumeName(volume)
		if other, taken := seen[name]; taken {
			t.Errorf("volume %s and %s are both %s", volume, other, name)
		}
		if isBase(devicemapper.Device{Name: name}, id) {
			t.Errorf("volume %s looks like a base", volume)
		}
		seen[name] = "volume " + volume
	}
	if !isBase(devicemapper.Device{Name: id.baseName(7)}, id) || isBase(devicemapper.Device{Name: newPoolID().baseName(7)}, id) {
		t.Error("bases are not told by their names")
	}
}

func TestVolumeNames(t *testing.T) {
	for name, good := range map[string]bool{
		"pvc-0a1b": true, "a": true, "a.b": true, strings.Repeat("a", 96): true,
		"": false, "-a": false, "a-": false, ".": false, "..": false, "a/b": false, "../a": false, "A": false, "a b": false,
		"a\n": false, "a\x00": false, "ä": false, strings.Repeat("a", 97): false, "a_b": false,
	} {
		if err := validateVolumeName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzVolumeName(f *testing.F) {
	f.Add("pvc-1")
	id := newPoolID()
	f.Fuzz(func(t *testing.T, name string) {
		if validateVolumeName(name) != nil {
			return
		}
		if _, err := devicemapper.ParseName(string(id.volumeName(name))); err != nil {
			t.Errorf("%q is accepted and %v", name, err)
		}
		if strings.ContainsAny(name, "/,\x00\n ") {
			t.Errorf("%q is accepted", name)
		}
	})
}

// TestVolumeNamesAreThePattern: the loop allows what this pattern allows.
func TestVolumeNamesAreThePattern(t *testing.T) {
	pattern := regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,94}[a-z0-9])?$`)
	const letters = "abz019.-\n/`{:A\x00\xff"
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		raw := make([]byte, random.IntN(5))
		for i := range raw {
			raw[i] = letters[random.IntN(len(letters))]
		}
		name := strings.Repeat("a", []int{0, 0, 0, 92, 94}[random.IntN(5)]) + string(raw)
		if isVolumeName(name) != pattern.MatchString(name) {
			t.Fatalf("%q: %t", name, isVolumeName(name))
		}
	}
}
