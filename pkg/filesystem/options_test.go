package filesystem

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseMkfsOptions(t *testing.T) {
	for _, test := range []struct {
		fsType Type
		text   string
		want   string
	}{
		{Ext4, "", ""},
		{Ext4, "-i 65536 -m 1", "-i 65536 -m 1"},
		{Ext4, "  -m\t1   -i 65536 ", "-i 65536 -m 1"},
		{Ext4, "-O project,^has_journal,project", "-O ^has_journal,project"},
		{Ext4, "-O ^has_journal", "-O ^has_journal"},
		{Ext4, "-J size=64", "-J size=64"},
		{XFS, "-l size=64m -i maxpct=10,size=1024", "-i maxpct=10,size=1024 -l size=64m"},
		{XFS, "-m reflink=0,rmapbt=1 -d agcount=8 -n size=8192", "-d agcount=8 -m reflink=0,rmapbt=1 -n size=8192"},
	} {
		got, err := ParseMkfsOptions(test.fsType, test.text)
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("%s %q: got %q, %v", test.fsType, test.text, got, err)
		}
	}
}

func TestParseMkfsOptionsRefuses(t *testing.T) {
	for _, test := range []struct {
		fsType Type
		text   string
	}{
		{Ext4, "-d /etc"}, {Ext4, "-F"}, {Ext4, "-i"}, {Ext4, "-i 1"}, {Ext4, "-i -m"}, {Ext4, "--"}, {Ext4, "/dev/sda"}, {Ext4, "-m 1 -m 2"},
		{Ext4, "-m 51"}, {Ext4, "-m 1;reboot"}, {Ext4, "-m 1\n-F x"}, {Ext4, "-E discard"}, {Ext4, "-U random"}, {Ext4, "-L x"}, {Ext4, "-O bigalloc"},
		{Ext4, "-O quota"}, {Ext4, "-O verity"}, {Ext4, "-O project,"}, {Ext4, "-O ,"}, {Ext4, "-O project -O ^has_journal"}, {Ext4, "-J device=/dev/sda"}, {Ext4, "-J size=64,device=x"}, {Ext4, "-l size=64m"},
		{Ext4, "-m\u00a01"}, {Ext4, "-m 1\x00"}, {Ext4, strings.Repeat(" ", maximumOptionsLength+1)},
		{XFS, "-d file,name=/etc/x"}, {XFS, "-d agcount=0"}, {XFS, "-d agcount=4,agcount=8"}, {XFS, "-d agcount=4 -d agcount=8"}, {XFS, "-p /etc/passwd"},
		{XFS, "-l logdev=/dev/sda"}, {XFS, "-l size=1t"}, {XFS, "-i"}, {XFS, "-i size"}, {XFS, "-i size=512,"}, {XFS, "-m crc=0"}, {XFS, "-r rtdev=/dev/sda"}, {XFS, "-c options=/x"}, {XFS, "-i size=1024=2"},
		{"ntfs", ""},
	} {
		got, err := ParseMkfsOptions(test.fsType, test.text)
		if err == nil {
			t.Errorf("%s %q was accepted as %q", test.fsType, test.text, got)
			continue
		}
		if test.fsType != "ntfs" && !errors.Is(err, ErrMkfsOption) {
			t.Errorf("%s %q: %v does not match ErrMkfsOption", test.fsType, test.text, err)
		}
	}
	if _, err := ParseMkfsOptions(Ext4, "-d /etc"); !strings.Contains(err.Error(), "-i BYTES-PER-INODE") {
		t.Errorf("the error does not say what is allowed: %v", err)
	}
}

func TestMakeArguments(t *testing.T) {
	options, err := ParseMkfsOptions(XFS, "-i size=1024 -l size=128m -m reflink=0")
	if err != nil {
		t.Fatal(err)
	}
	arguments, err := makeArguments("/dev/dm-7", 6<<40, Format{Type: XFS, Options: options})
	line := strings.Join(arguments, " ")
	for _, want := range []string{"-K", "crc=1", "reflink=0", "size=1024,", "-l size=128m", "agcount=7,", "nrext64=0"} {
		if err != nil || !strings.Contains(line, want) {
			t.Errorf("no %q in %q, %v", want, line, err)
		}
	}
	if !slices.Equal(arguments[len(arguments)-2:], []string{"--", "/dev/dm-7"}) {
		t.Errorf("the device is not behind --: %q", line)
	}
	options, _ = ParseMkfsOptions(Ext4, "-i 65536 -O ^has_journal")
	arguments, err = makeArguments("/dev/dm-7", 100<<30, Format{Type: Ext4, Options: options})
	line = strings.Join(arguments, " ")
	for _, want := range []string{"-i 65536", "-m 0", "none,has_journal,", ",^has_journal", "nodiscard", "assume_storage_prezeroed=1", "resize=209715200"} {
		if err != nil || !strings.Contains(line, want) {
			t.Errorf("no %q in %q, %v", want, line, err)
		}
	}
	for _, f := range []struct {
		size   int64
		format Format
	}{{1 << 20, Format{Type: Ext4}}, {100 << 20, Format{Type: XFS}}, {1 << 30, Format{Type: "ntfs"}}, {1 << 30, Format{Type: Ext4, Options: []string{"-d", "/etc"}}}} {
		if arguments, err := makeArguments("/dev/dm-7", f.size, f.format); err == nil {
			t.Errorf("%+v gives %q", f, arguments)
		}
	}
}

func FuzzParseMkfsOptions(f *testing.F) {
	f.Add("-i 65536 -m 1 -O project,^has_journal -J size=64", true)
	f.Add("-l size=64m -i maxpct=10,size=1024 -m reflink=0", false)
	f.Fuzz(func(t *testing.T, text string, ext bool) {
		fsType := XFS
		if ext {
			fsType = Ext4
		}
		words, err := ParseMkfsOptions(fsType, text)
		if err != nil {
			return
		}
		for _, word := range words {
			if word == "" || strings.ContainsAny(word, " \t\n\x00/;&|$`'\"\\") {
				t.Errorf("%q lets %q through", text, word)
			}
		}
		again, err := ParseMkfsOptions(fsType, strings.Join(words, " "))
		if err != nil || !slices.Equal(words, again) {
			t.Errorf("%q gives %q, and that %q, %v", text, words, again, err)
		}
		if _, err := makeArguments("/dev/dm-1", 1<<40, Format{Type: fsType, Options: words}); err != nil {
			t.Errorf("%q: %v", words, err)
		}
	})
}
