package csi

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
)

// TestPage: pages follow each other without a gap, also when names come and go in between.
func TestPage(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e"}
	for _, limit := range []int32{0, 1, 2, 3, 5, 6} {
		var all []string
		token := ""
		for {
			found, next, err := page(names, token, limit)
			if err != nil {
				t.Fatal(err)
			}
			if limit != 0 && len(found) > int(limit) {
				t.Errorf("%d entries on a page of %d", len(found), limit)
			}
			all = append(all, found...)
			if token = next; token == "" {
				break
			}
		}
		if !slices.Equal(all, names) {
			t.Errorf("pages of %d: %q", limit, all)
		}
	}
	_, next, err := page(names, "", 2)
	if err != nil {
		t.Fatal(err)
	}
	if found, _, err := page([]string{"a", "aa", "c", "d"}, next, 0); err != nil || !slices.Equal(found, []string{"c", "d"}) {
		t.Errorf("after one is gone and one has come: %q, %v", found, err)
	}
}

func TestPageRefusals(t *testing.T) {
	for token, want := range map[string]codes.Code{"a": codes.Aborted, "after:": codes.Aborted, "\x00": codes.Aborted, "after:zz": codes.OK} {
		if _, _, err := page([]string{"a"}, token, 0); err != nil && code(err) != want || err == nil && want != codes.OK {
			t.Errorf("token %q: %v, want %s", token, err, want)
		}
	}
	if _, _, err := page(nil, "", -1); err == nil || code(err) != codes.InvalidArgument {
		t.Errorf("max_entries -1: %v", err)
	}
}
