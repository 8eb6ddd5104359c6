package lifecycle

import (
	"strings"
	"testing"
)

func TestParsePools(t *testing.T) {
	pools, err := parsePools([]byte("- name: default\n  spec: {source: {devices: [/dev/sdx]}}\n- name: fast\n  spec: {}\n"))
	if err != nil || len(pools) != 2 || pools[0].Name != "default" || pools[1].Name != "fast" || pools[0].Spec["source"] == nil {
		t.Errorf("%+v, %v", pools, err)
	}
	for _, empty := range []string{"", "\n", "[]\n"} {
		if pools, err := parsePools([]byte(empty)); err != nil || len(pools) != 0 {
			t.Errorf("%q: %+v, %v", empty, pools, err)
		}
	}
	for content, word := range map[string]string{
		"name: a":                   "list of name and spec",
		"- name: a\n  colour: blue": "colour",
		"- name: ../a\n  spec: {}":  "entry 0: name",
		"- spec: {}":                "entry 0: name",
		"- name: a\n  spec: {}\n- name: a\n  spec: {}": "twice",
	} {
		if _, err := parsePools([]byte(content)); err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), "--pools-file") {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestWaiting(t *testing.T) {
	for want, names := range map[string][]string{
		"waiting for 1 volume: a":                 {"a"},
		"waiting for 2 volumes: a, b":             {"b", "a"},
		"waiting for 6 volumes: a, b, c, d, e, …": {"f", "e", "d", "c", "b", "a"},
	} {
		if got := waiting("volume", names); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
