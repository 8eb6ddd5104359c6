package filesystem

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMountOptionsThatAreAllowed(t *testing.T) {
	const label = "system_u:object_r:container_file_t:s0:c15,c25"
	for _, test := range []struct {
		t          Type
		options    []string
		attributes int
		parameters []mountParameter
	}{
		{Ext4, nil, 0, nil},
		{Ext4, []string{"noatime", "nosuid", "nodev"}, unix.MOUNT_ATTR_NOATIME | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, nil},
		{Ext4, []string{"noatime", "strictatime"}, unix.MOUNT_ATTR_STRICTATIME, nil},
		{XFS, []string{"ro", "rw"}, 0, nil},
		{XFS, []string{"rw", "ro"}, unix.MOUNT_ATTR_RDONLY, nil},
		{Ext4, []string{"discard", "commit=30"}, 0, []mountParameter{{"discard", ""}, {"commit", "30"}}},
		{XFS, []string{"logbsize=256k", "lazytime"}, 0, []mountParameter{{"logbsize", "256k"}, {"lazytime", ""}}},
		{XFS, []string{`context="` + label + `"`}, 0, []mountParameter{{"context", label}}},
		{Ext4, []string{"context=" + label}, 0, []mountParameter{{"context", label}}},
		{Ext4, []string{"fscontext=system_u:object_r:t"}, 0, []mountParameter{{"fscontext", "system_u:object_r:t"}}},
	} {
		parsed, err := ParseMountOptions(test.t, test.options)
		if err != nil {
			t.Error(err)
			continue
		}
		if parsed.attributes != test.attributes || len(parsed.parameters) != len(test.parameters) {
			t.Errorf("%v became %+v", test.options, parsed)
			continue
		}
		for i := range test.parameters {
			if parsed.parameters[i] != test.parameters[i] {
				t.Errorf("%v became %+v", test.options, parsed)
			}
		}
	}
}

func TestMountOptionsThatAreRefused(t *testing.T) {
	common := []string{
		"", " ", "init_itable", "init_itable=0", "noatime,nosuid", "discard,init_itable=1", "commit=5,init_itable", "noatime ", "bind",
		"remount", "errors=panic", "nobarrier", "barrier=0", "norecovery", "noload", "journal_dev=8", "journal_path=/dev/sda",
		"logdev=/dev/sda", "rtdev=/dev/sda", "sb=1", "source=/dev/sda", "test_dummy_encryption", "usrjquota=../x", "commit", "commit=",
		"commit=-1", "commit=99999999999", "discard=1", "ro=1", "-o", "--", "noatime\x00", "noatime\n", "x-systemd.automount", "user",
		"context", "context=", `context="`, `context=""`, `context="a:b:c`, `context=a:b:c"`, `context="a:b:c",init_itable`,
		`context="a:b:c,init_itable"`, "context=a:b:c,init_itable", "context=a:b:c:s0 ,x", "context=a:b", "commit=1\n,x",
		strings.Repeat("a", 5000),
	}
	for _, fsType := range Types {
		others := map[Type][]string{Ext4: {"nouuid", "largeio", "logbufs=8", "usrquota"}, XFS: {"noinit_itable", "sunit=8", "data=writeback", "commit=5"}}[fsType]
		for _, option := range append(others, common...) {
			_, err := ParseMountOptions(fsType, []string{"noatime", option})
			if !errors.Is(err, ErrMountOption) {
				t.Errorf("%s: %q passed: %v", fsType, option, err)
				continue
			}
			if !strings.Contains(err.Error(), "allowed are") || len(err.Error()) > 4000 {
				t.Errorf("the message does not help: %v", err)
			}
		}
	}
	if _, err := ParseMountOptions("vfat", nil); err == nil {
		t.Error("an unknown file system passed")
	}
	if _, err := ParseMountOptions(Ext4, make([]string, 1000)); !errors.Is(err, ErrMountOption) {
		t.Errorf("a thousand options passed: %v", err)
	}
}

// What passes holds no option that is hidden behind a comma, and nothing that ends a string early.
func FuzzParseMountOptions(f *testing.F) {
	for _, option := range []string{"noatime", "commit=5", `context="a:b:c:s0:c1,c2"`, "context=a:b:c,x", "data=ordered"} {
		f.Add(true, option)
		f.Add(false, option)
	}
	f.Fuzz(func(t *testing.T, ext4 bool, option string) {
		fsType := XFS
		if ext4 {
			fsType = Ext4
		}
		parsed, err := ParseMountOptions(fsType, []string{option})
		if err != nil {
			return
		}
		for _, parameter := range parsed.parameters {
			if strings.ContainsAny(parameter.key, ", =\"\x00\n") || strings.ContainsAny(parameter.value, " =\"\x00\n") || parameter.key == "init_itable" {
				t.Errorf("%q became %+v", option, parameter)
			}
			if strings.Contains(parameter.value, ",") && !strings.HasSuffix(parameter.key, "context") {
				t.Errorf("%q became %+v", option, parameter)
			}
		}
	})
}
