package filesystem

import (
	"errors"
	"strings"
	"testing"
)

func TestParseRootMode(t *testing.T) {
	for text, want := range map[string]string{"755": "0755", "0770": "0770", "2775": "2775", "1777": "1777", "001": "0001", "3777": "3777"} {
		if mode, err := ParseRootMode(text); err != nil || mode.String() != want {
			t.Errorf("%q is %q, %v", text, mode, err)
		}
	}
	for _, text := range []string{
		"", "0", "000", "0000", "77", "4755", "7777", "00770", "0o770", "0x1f8", "+770", "-770", " 770", "770\n", "888", "rwx", "u+x", "7_7_0", strings.Repeat("7", 1000),
	} {
		if mode, err := ParseRootMode(text); !errors.Is(err, ErrRootMode) || !strings.Contains(err.Error(), RootModeHelp) || len(err.Error()) > 300 {
			t.Errorf("%q is %q, %v", text, mode, err)
		}
	}
	if text := RootMode(0).String(); text != "" {
		t.Errorf("none is %q", text)
	}
}
