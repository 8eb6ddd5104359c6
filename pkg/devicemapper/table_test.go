package devicemapper

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
)

var (
	metadataDevice = DeviceNumber{253, 1}
	dataDevice     = DeviceNumber{253, 2}
)

// Lines as dmsetup table prints them for these targets.
func TestTargetText(t *testing.T) {
	for _, test := range []struct {
		line   string
		target Target
	}{
		{"0 2048 linear 8:16 384", Linear{Device: DeviceNumber{8, 16}, OffsetSectors: 384}},
		{"0 2048 thin 253:3 7", Thin{Pool: DeviceNumber{253, 3}, ID: 7}},
		{"0 2048 thin 253:3 16777215 8:1", Thin{Pool: DeviceNumber{253, 3}, ID: MaxThinID, ExternalOrigin: DeviceNumber{8, 1}}},
		{"0 2048 thin-pool 253:1 253:2 128 0 0", ThinPool{Metadata: metadataDevice, Data: dataDevice, BlockSectors: 128}},
		{"0 2048 thin-pool 253:1 253:2 2097152 32768 1 error_if_no_space",
			ThinPool{Metadata: metadataDevice, Data: dataDevice, BlockSectors: MaxPoolBlockSectors, LowWaterBlocks: 32768, ErrorIfNoSpace: true}},
		{"0 2048 thin-pool 253:1 253:2 128 1 4 ignore_discard no_discard_passdown read_only error_if_no_space",
			ThinPool{Metadata: metadataDevice, Data: dataDevice, BlockSectors: 128, LowWaterBlocks: 1, IgnoreDiscard: true, NoDiscardPassdown: true, ReadOnly: true, ErrorIfNoSpace: true}},
		{"0 2048 zero", Zero{}},
		{"0 2048 error", ErrorTarget{}},
		{"0 2048 flakey 8:16 384 0 60 1 error_writes", Flakey{Device: DeviceNumber{8, 16}, OffsetSectors: 384, Down: 60, ErrorWrites: true}},
		{"0 2048 flakey 8:16 0 5 1 1 drop_writes", Flakey{Device: DeviceNumber{8, 16}, Up: 5, Down: 1, DropWrites: true}},
		{"0 2048 flakey 8:16 0 5 1", Flakey{Device: DeviceNumber{8, 16}, Up: 5, Down: 1}},
		{"0 2048 dust 8:16 384 4096", Dust{Device: DeviceNumber{8, 16}, OffsetSectors: 384, BlockBytes: 4096}},
		{"0 2048 log-writes 8:16 8:32", LogWrites{Device: DeviceNumber{8, 16}, Log: DeviceNumber{8, 32}}},
		{"0 2048 delay 8:16 0 50", RawTarget{TargetType: "delay", Params: "8:16 0 50"}},
	} {
		segment := Segment{Length: 2048, Target: test.target}
		if got := segment.String(); got != test.line {
			t.Errorf("%#v prints %q, want %q", test.target, got, test.line)
		}
		fields := strings.SplitN(test.line, " ", 4)
		params := ""
		if len(fields) == 4 {
			params = fields[3]
		}
		if got := parseTarget(fields[2], params); got != test.target {
			t.Errorf("%q reads as %#v, want %#v", test.line, got, test.target)
		}
	}
}

// What is not of the exact form stays raw, whole.
func TestParseTargetStaysRaw(t *testing.T) {
	for params, targetType := range map[string]string{
		"8:16":                                   TypeLinear,
		"8:16 0 0":                               TypeLinear,
		"sda 0":                                  TypeLinear,
		"8:16 -1":                                TypeLinear,
		"8:16 18446744073709551616":              TypeLinear,
		"Fail":                                   TypeThin,
		"-":                                      TypeThin,
		"253:3":                                  TypeThin,
		"253:3 4294967296":                       TypeThin,
		"253:3 16777216":                         TypeThin,
		"253:3 1 origin":                         TypeThin,
		"253:3 1 8:1 2":                          TypeThin,
		"253:1 253:2 128 0":                      TypeThinPool,
		"253:1 253:2 128 0 1":                    TypeThinPool,
		"253:1 253:2 128 0 0 read_only":          TypeThinPool,
		"253:1 253:2 128 0 1 new_feature":        TypeThinPool,
		"253:1 253:2 128 0 x read_only":          TypeThinPool,
		"253:1 data 128 0 0":                     TypeThinPool,
		"meta 253:2 128 0 0":                     TypeThinPool,
		"253:1 253:2 x 0 0":                      TypeThinPool,
		"253:1 253:2 128 x 0":                    TypeThinPool,
		"253:1 253:2 128 0 4294967296 a b ":      TypeThinPool,
		"253:1":                                  TypeLogWrites,
		"8:16 0 5":                               TypeFlakey,
		"8:16 0 5 1 1":                           TypeFlakey,
		"8:16 0 5 -1 0":                          TypeFlakey,
		"8:16 0 x 1 0":                           TypeFlakey,
		"8:16 x 5 1 0":                           TypeFlakey,
		"sda 0 5 1 0":                            TypeFlakey,
		"8:16 0 5 1 1 error_reads":               TypeFlakey,
		"8:16 0 5 1 5 corrupt_bio_byte 32 r 1 0": TypeFlakey,
		"8:16 0 4294967296":                      TypeDust,
		"8:16 512":                               TypeDust,
		"8:16 0 512 1":                           TypeDust,
		"sda 0 512":                              TypeDust,
		"8:16 x 512":                             TypeDust,
		"8:16 log":                               TypeLogWrites,
		"8:16 8:32 8:48":                         TypeLogWrites,
		"something":                              TypeZero,
		"else":                                   TypeError,
	} {
		want := Target(RawTarget{TargetType: targetType, Params: params})
		if got := parseTarget(targetType, params); got != want {
			t.Errorf("%s %q reads as %#v, want it raw", targetType, params, got)
		}
	}
}

func TestSkipBlockZeroingIsReadAndNotWritten(t *testing.T) {
	target := parseTarget(TypeThinPool, "253:1 253:2 128 0 1 skip_block_zeroing ")
	want := Target(ThinPool{Metadata: metadataDevice, Data: dataDevice, BlockSectors: 128, SkipBlockZeroing: true})
	if target != want {
		t.Errorf("reads as %#v, want %#v", target, want)
	}
	if _, err := (Table{{Length: 128, Target: target}}).encode(); !errors.Is(err, ErrInvalid) {
		t.Errorf("encodes: %v, want ErrInvalid", err)
	}
}

func TestTableRefused(t *testing.T) {
	pool := ThinPool{Metadata: metadataDevice, Data: dataDevice, BlockSectors: 128}
	with := func(change func(*ThinPool)) Table {
		changed := pool
		change(&changed)
		return Table{{Length: 128, Target: changed}}
	}
	for name, table := range map[string]Table{
		"empty":               {},
		"no target":           {{Length: 8}},
		"no length":           {{Target: Zero{}}},
		"not at 0":            {{Start: 1, Length: 8, Target: Zero{}}},
		"gap":                 {{Length: 8, Target: Zero{}}, {Start: 9, Length: 8, Target: Zero{}}},
		"overlap":             {{Length: 8, Target: Zero{}}, {Start: 7, Length: 8, Target: Zero{}}},
		"too long":            {{Length: MaxSectors, Target: Zero{}}, {Start: MaxSectors, Length: 1, Target: Zero{}}},
		"overflow":            {{Length: 8, Target: Zero{}}, {Start: 8, Length: 1<<64 - 8, Target: Zero{}}},
		"linear on nothing":   {{Length: 8, Target: Linear{}}},
		"flakey on nothing":   {{Length: 8, Target: Flakey{Down: 1}}},
		"never up nor down":   {{Length: 8, Target: Flakey{Device: dataDevice}}},
		"lost and refused":    {{Length: 8, Target: Flakey{Device: dataDevice, Down: 1, ErrorWrites: true, DropWrites: true}}},
		"dust on nothing":     {{Length: 8, Target: Dust{BlockBytes: 512}}},
		"dust without blocks": {{Length: 8, Target: Dust{Device: dataDevice}}},
		"dust of odd blocks":  {{Length: 8, Target: Dust{Device: dataDevice, BlockBytes: 1536}}},
		"dust of giant ones":  {{Length: 8, Target: Dust{Device: dataDevice, BlockBytes: 1 << 31}}},
		"nothing logged":      {{Length: 8, Target: LogWrites{Log: dataDevice}}},
		"log on nothing":      {{Length: 8, Target: LogWrites{Device: dataDevice}}},
		"log on itself":       {{Length: 8, Target: LogWrites{Device: dataDevice, Log: dataDevice}}},
		"linear on a giant":   {{Length: 8, Target: Linear{Device: DeviceNumber{1 << 12, 0}}}},
		"thin without pool":   {{Length: 8, Target: Thin{ID: 1}}},
		"thin id too large":   {{Length: 8, Target: Thin{Pool: dataDevice, ID: MaxThinID + 1}}},
		"origin too large":    {{Length: 8, Target: Thin{Pool: dataDevice, ExternalOrigin: DeviceNumber{0, 1}}}},
		"no metadata":         with(func(p *ThinPool) { p.Metadata = DeviceNumber{} }),
		"no data":             with(func(p *ThinPool) { p.Data = DeviceNumber{} }),
		"one device for both": with(func(p *ThinPool) { p.Data = p.Metadata }),
		"block of 0":          with(func(p *ThinPool) { p.BlockSectors = 0 }),
		"block of 64":         with(func(p *ThinPool) { p.BlockSectors = 64 }),
		"block of 129":        with(func(p *ThinPool) { p.BlockSectors = 129 }),
		"block too large":     with(func(p *ThinPool) { p.BlockSectors = MaxPoolBlockSectors + 128 }),
		"pool and more":       {{Length: 128, Target: pool}, {Start: 128, Length: 8, Target: Zero{}}},
		"nameless target":     {{Length: 8, Target: RawTarget{}}},
		"long-named target":   {{Length: 8, Target: RawTarget{TargetType: "sixteen-letters-"}}},
		"blank in target":     {{Length: 8, Target: RawTarget{TargetType: "a b"}}},
		"zero in target":      {{Length: 8, Target: RawTarget{TargetType: "a", Params: "a\x00b"}}},
	} {
		var refused *InvalidError
		_, err := table.encode()
		if !errors.As(err, &refused) || !errors.Is(err, ErrInvalid) || refused.Field == "" || refused.Allowed == "" {
			t.Errorf("%s: %v, want an *InvalidError", name, err)
		}
	}
}

// The bytes of struct dm_target_spec, written out: start, length, status,
// next, 16 bytes of type; parameters, padded to 8.
func TestTableEncoding(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the expected bytes are little-endian")
	}
	payload, err := Table{
		{Length: 0x1234, Target: Linear{Device: DeviceNumber{8, 16}, OffsetSectors: 384}},
		{Start: 0x1234, Length: 1, Target: Zero{}},
	}.encode()
	if err != nil {
		t.Fatal(err)
	}
	want := "0000000000000000" + "3412000000000000" + "00000000" + "38000000" + hex.EncodeToString([]byte("linear\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")) +
		hex.EncodeToString([]byte("8:16 384\x00\x00\x00\x00\x00\x00\x00\x00")) +
		"3412000000000000" + "0100000000000000" + "00000000" + "30000000" + hex.EncodeToString([]byte("zero\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")) +
		"0000000000000000"
	if got := hex.EncodeToString(payload); got != want {
		t.Errorf("encoded\n%s, want\n%s", got, want)
	}
}

// answerLines lays lines out as the kernel's retrieve_status does.
func answerLines(lines []line) []byte {
	var data []byte
	for _, l := range lines {
		spec := make([]byte, align(specSize+len(l.text)+1))
		binary.NativeEndian.PutUint64(spec[specStart:], uint64(l.start))
		binary.NativeEndian.PutUint64(spec[specLength:], uint64(l.length))
		binary.NativeEndian.PutUint32(spec[specNext:], uint32(len(data)+len(spec)))
		copy(spec[specType:], l.targetType)
		copy(spec[specSize:], l.text)
		data = append(data, spec...)
	}
	return data
}

func TestParseLines(t *testing.T) {
	lines := []line{{0, 8, "linear", "8:16 0"}, {8, 16, "zero", ""}, {24, 1, "thin", "Fail"}}
	data := answerLines(lines)
	// The kernel's data_size ends with the last line's zero, before padding.
	got, err := parseLines(data[:len(data)-3], 3)
	if err != nil || !slices.Equal(got, lines) {
		t.Errorf("%v, %v, want %v", got, err, lines)
	}
	if got, err := parseLines(nil, 0); err != nil || got != nil {
		t.Errorf("no lines: %v, %v", got, err)
	}
	for name, broken := range map[string][]byte{
		"nothing":     nil,
		"cut":         data[:len(data)-8],
		"cut in spec": data[:30],
		"unended":     bytes.Repeat([]byte{1}, 80),
		"loop": func() []byte {
			loop := bytes.Clone(data)
			binary.NativeEndian.PutUint32(loop[specNext:], 0)
			return loop
		}(),
		"far away": func() []byte {
			far := bytes.Clone(data)
			binary.NativeEndian.PutUint32(far[specNext:], 1<<31)
			return far
		}(),
	} {
		if got, err := parseLines(broken, 3); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v, want ErrMalformed", name, got, err)
		}
	}
}

func FuzzParseLines(f *testing.F) {
	f.Add(answerLines([]line{{0, 8, "linear", "8:16 0"}, {8, 16, "zero", ""}}), 2)
	f.Add([]byte{}, 1)
	f.Fuzz(func(t *testing.T, data []byte, count int) {
		count %= 100
		lines, err := parseLines(data, count)
		if err == nil && len(lines) != max(count, 0) {
			t.Errorf("%d lines, want %d", len(lines), count)
		}
		// What was read, laid out anew, reads the same.
		if err == nil && count > 0 {
			again, err := parseLines(answerLines(lines), count)
			if err != nil || !slices.Equal(again, lines) {
				t.Errorf("%v became %v, %v", lines, again, err)
			}
		}
	})
}

// A table line that is read typed is one that can be loaded again, and means
// the same; skip_block_zeroing and odd block sizes are read but not loaded.
func FuzzParseTarget(f *testing.F) {
	f.Add(TypeLinear, "8:16 384")
	f.Add(TypeThin, "253:3 7 8:1")
	f.Add(TypeThin, "Fail")
	f.Add(TypeThinPool, "253:1 253:2 128 0 1 skip_block_zeroing ")
	f.Add(TypeThinPool, "253:1 253:2 128 0 2 read_only error_if_no_space ")
	f.Add("delay", "8:16 0 50")
	f.Add(TypeFlakey, "8:16 0 5 1 1 error_writes")
	f.Add(TypeDust, "8:16 0 512")
	f.Fuzz(func(t *testing.T, targetType, params string) {
		target := parseTarget(targetType, params)
		if target.Type() != targetType {
			t.Fatalf("%q became %q", targetType, target.Type())
		}
		again, err := target.params()
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%v", err)
			}
			return
		}
		if parseTarget(targetType, again) != target {
			t.Errorf("%q became %q", params, again)
		}
	})
}

func TestTableString(t *testing.T) {
	table := Table{{Length: 8, Target: Zero{}}, {Start: 8, Length: 8, Target: Linear{Device: dataDevice}}}
	if got, want := table.String(), "0 8 zero\n8 8 linear 253:2 0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if table.Length() != 16 {
		t.Errorf("length %d", table.Length())
	}
}
