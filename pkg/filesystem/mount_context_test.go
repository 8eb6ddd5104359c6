package filesystem

import (
	"strings"
	"testing"
)

// TestContextOfOptions: what kubelet passes for a pod's SELinux label goes through, commas and quotes included; a comma brings
// no other option along.
func TestContextOfOptions(t *testing.T) {
	const want = "system_u:object_r:container_file_t:s0:c15,c25"
	for _, option := range []string{`context="` + want + `"`, "context=" + want} {
		options, err := ParseMountOptions(Ext4, []string{"noatime", option})
		if err != nil || options.Context() != want {
			t.Errorf("%s: %q, %v", option, options.Context(), err)
		}
	}
	if options, err := ParseMountOptions(XFS, []string{"noatime"}); err != nil || options.Context() != "" {
		t.Errorf("without one: %q, %v", options.Context(), err)
	}
	for _, option := range []string{
		`context="` + want, `context=` + want + `"`, `context="` + want + `",dev`, "context=" + want + ",init_itable", `context="a:b:c:s0",b`, "noatime,dev", "data=ordered,dev",
	} {
		if _, err := ParseMountOptions(Ext4, []string{option}); err == nil {
			t.Errorf("accepted: %s", option)
		}
	}
}

func TestContextInMountinfo(t *testing.T) {
	for options, want := range map[string]string{
		`rw,context="system_u:object_r:container_file_t:s0:c15,c25",noinit_itable`: "system_u:object_r:container_file_t:s0:c15,c25",
		`rw,context=system_u:object_r:tmp_t:s0,noinit_itable`:                      "system_u:object_r:tmp_t:s0",
		`rw,rootcontext="a:b:c:s0:c1,c2",fscontext=a:b:d,context=a:b:e`:            "a:b:e",
		`rw,rootcontext="a:b:c:s0:c1,context=x",nouuid`:                            "",
		`rw,seclabel,noinit_itable`:                                                "",
		``:                                                                         "",
	} {
		if got := contextIn(options); got != want {
			t.Errorf("%s: %q, want %q", options, got, want)
		}
	}
}

func TestSameContext(t *testing.T) {
	const user = "system_u:object_r:container_file_t:"
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"", "", true}, {user + "s0", user + "s0", true}, {user + "s0:c15,c25", user + "s0:c25,c15", true},
		{user + "s0:c1,c2,c3", user + "s0:c1.c3", true}, {user + "s0-s0:c0.c1023", user + "s0-s0:c0.c1023", true},
		{user + "s0:c15,c25", user + "s0:c15", false}, {user + "s0:c15,c25", user + "s0:c15,c26", false}, {user + "s0", user + "s1", false},
		{user + "s0", "", false}, {"a:b:c", "a:b:d", false}, {user + "s0:c1", strings.Replace(user, "container", "other", 1) + "s0:c1", false},
	} {
		if SameContext(c.a, c.b) != c.same || SameContext(c.b, c.a) != c.same {
			t.Errorf("%q and %q: same is not %t", c.a, c.b, c.same)
		}
	}
}
