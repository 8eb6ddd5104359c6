package devicemapper

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseName(t *testing.T) {
	for text, want := range map[string]bool{
		"":                        false,
		".":                       false,
		"..":                      false,
		"...":                     true,
		"a":                       true,
		"csi-dm-pool_1.data+x":    true,
		"#=:@":                    true,
		"a/b":                     false,
		"a b":                     false,
		"a\x00":                   false,
		"a\n":                     false,
		`a\x20b`:                  false,
		"größe":                   false,
		"\xff":                    false,
		strings.Repeat("n", 127):  true,
		strings.Repeat("n", 128):  false,
		strings.Repeat("n", 4096): false,
	} {
		name, err := ParseName(text)
		if (err == nil) != want {
			t.Errorf("ParseName(%q): %v, want ok %v", text, err, want)
		}
		if err == nil && string(name) != text {
			t.Errorf("ParseName(%q) = %q", text, name)
		}
		var refused *InvalidError
		if err != nil && (!errors.As(err, &refused) || !errors.Is(err, ErrInvalid) || refused.Field != "name" || refused.Value != text) {
			t.Errorf("ParseName(%q): %#v", text, err)
		}
	}
}

func TestParseUUID(t *testing.T) {
	for text, want := range map[string]bool{
		"":                       false,
		"CSIDM-0123":             true,
		"..":                     true,
		"a b":                    false,
		strings.Repeat("u", 128): true,
		strings.Repeat("u", 129): false,
	} {
		if _, err := ParseUUID(text); (err == nil) != want {
			t.Errorf("ParseUUID(%q): %v, want ok %v", text, err, want)
		}
	}
}

// Whatever ParseName and ParseUUID accept, the kernel gets in full and ended
// by a zero.
func FuzzNames(f *testing.F) {
	f.Add("csi-dm-pool")
	f.Add("..")
	f.Add(strings.Repeat("x", 128))
	f.Fuzz(func(t *testing.T, s string) {
		var header unix.DmIoctl
		if name, err := ParseName(s); err == nil {
			if err := name.address(&header); err != nil {
				t.Errorf("name: %v", err)
			}
			if got, ended := text(header.Name[:]); got != s || !ended || strings.Contains(s, "/") {
				t.Errorf("name %q became %q", s, got)
			}
		}
		if uuid, err := ParseUUID(s); err == nil {
			if err := uuid.address(&header); err != nil {
				t.Errorf("UUID: %v", err)
			}
			if got, ended := text(header.Uuid[:]); got != s || !ended {
				t.Errorf("UUID %q became %q", s, got)
			}
		}
	})
}

func TestLookupOfForeignNames(t *testing.T) {
	for _, ref := range []Ref{Name(`vg-with\x20blank`), Name("ä"), UUID("LVM-a/b"), Name("."), Device{Name: "a b"}} {
		if err := ref.address(&unix.DmIoctl{}); err != nil {
			t.Errorf("%T %q: %v", ref, ref, err)
		}
	}
	for _, ref := range []Ref{Name(""), UUID(""), Name("a\x00b"), Name(strings.Repeat("n", 128)), UUID(strings.Repeat("u", 129)), Device{}, DeviceNumber{}} {
		if err := ref.address(&unix.DmIoctl{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%T %q: %v, want ErrInvalid", ref, ref, err)
		}
	}
}

// The kernel wants one of the three identities, and a device is known by the
// most lasting one it has.
func TestAddressSetsOneField(t *testing.T) {
	for _, test := range []struct {
		ref              Ref
		name, uuid, rdev bool
	}{
		{Name("n"), true, false, false},
		{UUID("u"), false, true, false},
		{DeviceNumber{254, 3}, false, false, true},
		{Device{Name: "n", UUID: "u", Number: DeviceNumber{254, 3}}, false, true, false},
		{Device{Name: "n", Number: DeviceNumber{254, 3}}, true, false, false},
	} {
		var header unix.DmIoctl
		if err := test.ref.address(&header); err != nil {
			t.Fatal(err)
		}
		if (header.Name[0] != 0) != test.name || (header.Uuid[0] != 0) != test.uuid || (header.Dev != 0) != test.rdev {
			t.Errorf("%#v sets name %v, uuid %v, dev %v", test.ref, header.Name[0] != 0, header.Uuid[0] != 0, header.Dev != 0)
		}
	}
}
