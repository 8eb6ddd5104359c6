package devicemapper

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestParseThinStatus(t *testing.T) {
	for text, want := range map[string]ThinStatus{
		"0 -":                      {State: ThinStateOK},
		"384 639":                  {State: ThinStateOK, MappedSectors: 384, MappedEnd: 640},
		"2097152 2097151":          {State: ThinStateOK, MappedSectors: 2097152, MappedEnd: 2097152},
		"128 18446744073709551614": {State: ThinStateOK, MappedSectors: 128, MappedEnd: 1<<64 - 1},
		"Fail":                     {State: ThinStateFailed},
		"Error":                    {State: ThinStateError},
		"-":                        {State: ThinStateClosed},
	} {
		if got, err := ParseThinStatus(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", " ", "0", "fail", "Fail Fail", "ok", "- -", "0 0 0", "-1 -", "x -", "0 x", "+1 1", "1.0 1",
		"18446744073709551616 0", "0 18446744073709551615", "0 18446744073709551616",
	} {
		got, err := ParseThinStatus(text)
		var malformed *FormatError
		if !errors.As(err, &malformed) || !errors.Is(err, ErrMalformed) || malformed.Text != text || got != (ThinStatus{}) {
			t.Errorf("%q: %+v, %v, want a *FormatError", text, got, err)
		}
	}
}

func TestParseThinPoolStatus(t *testing.T) {
	for text, want := range map[string]ThinPoolStatus{
		// As Linux 6.1 prints it, with its blank at the end.
		"0 10/4096 0/1024 - rw discard_passdown queue_if_no_space - 1024 ": {
			Mode: PoolModeReadWrite, UsedMetadata: 10, TotalMetadata: 4096, TotalData: 1024,
			Discards: DiscardPassdown, MetadataLowWater: 1024,
		},
		"18446744073709551615 4161600/4161600 7/18446744073709551615 4161599 out_of_data_space no_discard_passdown error_if_no_space needs_check 0": {
			Mode: PoolModeOutOfDataSpace, TransactionID: 1<<64 - 1, UsedMetadata: 4161600, TotalMetadata: 4161600,
			UsedData: 7, TotalData: 1<<64 - 1, HeldMetadataRoot: 4161599, Discards: DiscardNoPassdown, ErrorIfNoSpace: true, NeedsCheck: true,
		},
		"3 1/2 3/4 - ro ignore_discard queue_if_no_space needs_check 5": {
			Mode: PoolModeReadOnly, TransactionID: 3, UsedMetadata: 1, TotalMetadata: 2, UsedData: 3, TotalData: 4,
			Discards: DiscardIgnore, NeedsCheck: true, MetadataLowWater: 5,
		},
		"Fail":  {Mode: PoolModeFailed},
		"Error": {Mode: PoolModeError},
	} {
		if got, err := ParseThinPoolStatus(text); err != nil || got != want {
			t.Errorf("%q:\n got %+v, %v\nwant %+v", text, got, err, want)
		}
	}

	// Each field, broken alone, is refused.
	good := strings.Fields("0 10/4096 0/1024 - rw discard_passdown queue_if_no_space - 1024")
	for i, broken := range [][]string{
		{"x", "-1", "-", "18446744073709551616", "0/1"},
		{"10", "10/", "/10", "10/x", "x/10", "-1/10", "10/-", "1/2/3", "+1/2"},
		{"0", "0/", "/", "0/x", "x/0", "0/18446744073709551616"},
		{"x", "0", "-1", "--"},
		{"RW", "Fail", "-", "read_only", ""},
		{"discard", "-", "skip_block_zeroing"},
		{"queue", "-", "error_if_no_spac"},
		{"check", "needs_checks", "rw"},
		{"x", "-", "-1", "18446744073709551616"},
	} {
		for _, field := range broken {
			fields := append(append(append([]string{}, good[:i]...), field), good[i+1:]...)
			text := strings.Join(fields, " ")
			got, err := ParseThinPoolStatus(text)
			var malformed *FormatError
			if !errors.As(err, &malformed) || malformed.Text != text || got != (ThinPoolStatus{}) {
				t.Errorf("%q: %+v, %v, want a *FormatError", text, got, err)
			}
		}
	}
	for _, text := range []string{"", "fail", "Fail 0", "Error Error", strings.Join(good[:8], " "), strings.Join(good, " ") + " more"} {
		if got, err := ParseThinPoolStatus(text); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %+v, %v, want ErrMalformed", text, got, err)
		}
	}
}

func TestHealthy(t *testing.T) {
	for mode, want := range map[PoolMode]bool{
		PoolModeReadWrite: true, PoolModeOutOfDataSpace: true, PoolModeReadOnly: false, PoolModeFailed: false, PoolModeError: false, "": false,
	} {
		if got := (ThinPoolStatus{Mode: mode}).Healthy(); got != want {
			t.Errorf("%q: %v", mode, got)
		}
		if (ThinPoolStatus{Mode: mode, NeedsCheck: true}).Healthy() {
			t.Errorf("%q with needs_check is healthy", mode)
		}
	}
}

func TestFree(t *testing.T) {
	s := ThinPoolStatus{UsedData: 3, TotalData: 10, UsedMetadata: 4, TotalMetadata: 5}
	if s.FreeData() != 7 || s.FreeMetadata() != 1 {
		t.Errorf("%d, %d", s.FreeData(), s.FreeMetadata())
	}
	s = ThinPoolStatus{UsedData: 11, TotalData: 10, UsedMetadata: 6, TotalMetadata: 5}
	if s.FreeData() != 0 || s.FreeMetadata() != 0 {
		t.Errorf("%d, %d where more is used than there is", s.FreeData(), s.FreeMetadata())
	}
}

// What is accepted, printed the kernel's way, reads the same.
func FuzzParseThinPoolStatus(f *testing.F) {
	f.Add("0 10/4096 0/1024 - rw discard_passdown queue_if_no_space - 1024 ")
	f.Add("5 1/2 3/4 9 out_of_data_space ignore_discard error_if_no_space needs_check 1")
	f.Add("Fail")
	f.Add("Error")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseThinPoolStatus(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || s != (ThinPoolStatus{}) {
				t.Errorf("%q: %+v, %v", text, s, err)
			}
			return
		}
		again := string(s.Mode)
		if s.Mode != PoolModeFailed && s.Mode != PoolModeError {
			pick := func(is bool, yes, no string) string {
				if is {
					return yes
				}
				return no
			}
			again = fmt.Sprintf("%d %d/%d %d/%d %s %s %s %s %s %d", s.TransactionID, s.UsedMetadata, s.TotalMetadata, s.UsedData, s.TotalData,
				pick(s.HeldMetadataRoot != 0, fmt.Sprint(uint64(s.HeldMetadataRoot)), "-"), s.Mode, s.Discards,
				pick(s.ErrorIfNoSpace, "error_if_no_space", "queue_if_no_space"), pick(s.NeedsCheck, "needs_check", "-"), s.MetadataLowWater)
		}
		if parsed, err := ParseThinPoolStatus(again); err != nil || parsed != s {
			t.Errorf("%q became %q: %+v, %v", text, again, parsed, err)
		}
	})
}

func FuzzParseThinStatus(f *testing.F) {
	f.Add("0 -")
	f.Add("384 639")
	f.Add("Fail")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseThinStatus(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || s != (ThinStatus{}) {
				t.Errorf("%q: %+v, %v", text, s, err)
			}
			return
		}
		again := string(s.State)
		switch {
		case s.State == ThinStateOK && s.MappedEnd == 0:
			again = fmt.Sprintf("%d -", s.MappedSectors)
		case s.State == ThinStateOK:
			again = fmt.Sprintf("%d %d", s.MappedSectors, s.MappedEnd-1)
		}
		if parsed, err := ParseThinStatus(again); err != nil || parsed != s {
			t.Errorf("%q became %q: %+v, %v", text, again, parsed, err)
		}
	})
}
