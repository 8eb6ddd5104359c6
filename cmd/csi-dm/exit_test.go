package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

func TestExitStatus(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, exitDone},
		{errors.New("anything"), exitFailed},
		{&thinpool.Error{Op: "repair", Err: fmt.Errorf("%w: v", thinpool.ErrVolumeInUse)}, exitInUse},
		{thinpool.ErrDeviceInUse, exitInUse},
		{thinpool.ErrNotApproved, exitNotAgreedTo},
		{marked{errors.New("left"), errDamaged}, exitDamaged},
		{marked{thinpool.ErrVolumeInUse, errUsage}, exitUsage},
	} {
		if got := exitStatus(test.err); got != test.want {
			t.Errorf("%v ends with %d instead of %d", test.err, got, test.want)
		}
	}
	for _, arguments := range [][]string{
		{"pool", "repair"}, {"pool", "repair", "a", "b"}, {"pool", "check", "--no-such"}, {"pool", "list", "-o", "yaml"}, {"pool", "grow", "--yes"},
	} {
		if _, err := runCommand(t, arguments...); exitStatus(err) != exitUsage {
			t.Errorf("%v: %v", arguments, err)
		}
	}
}

// Nobody is at a terminal here: what changes a pool is refused in one line, before anything is asked of anybody.
func TestAgreement(t *testing.T) {
	directory := agent(t)
	for _, arguments := range [][]string{{"pool", "repair", "fast"}, {"pool", "grow", "fast"}} {
		output, err := runCommand(t, append(arguments, "--run-dir", directory)...)
		if exitStatus(err) != exitNotAgreedTo || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "--yes") || output != "" {
			t.Errorf("%v: %q, %v", arguments, output, err)
		}
	}
	var said strings.Builder
	for answer, want := range map[string]int{"yes\n": exitDone, "yes": exitDone, "y\n": exitNotAgreedTo, "\n": exitNotAgreedTo, "": exitNotAgreedTo, "no\n": exitNotAgreedTo} {
		said.Reset()
		err := (&agreement{}).ask(strings.NewReader(answer), &said, "It will rain.")
		if exitStatus(err) != want || !strings.HasPrefix(said.String(), "It will rain.\n") {
			t.Errorf("%q: %v, %q", answer, err, said.String())
		}
	}
	if err := (&agreement{yes: true}).ask(strings.NewReader(""), &said, "It will rain."); err != nil {
		t.Error(err)
	}
}
