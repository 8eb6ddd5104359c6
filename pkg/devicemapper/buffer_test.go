package devicemapper

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sizeof(struct dm_ioctl) is part of every command's number (_IOWR).
func TestHeaderSize(t *testing.T) {
	if headerSize != unix.SizeofDmIoctl {
		t.Errorf("header of %d bytes, unix says %d", headerSize, unix.SizeofDmIoctl)
	}
	if encoded := unix.DM_VERSION >> 16 & 0x3fff; headerSize != encoded {
		t.Errorf("header of %d bytes, the commands' numbers say %d", headerSize, encoded)
	}
}

func TestEncode(t *testing.T) {
	b := newBuffer(21)
	r := request{ref: UUID("TEST"), flags: unix.DM_NOFLUSH_FLAG, event: 5, targets: 2, payload: []byte("payload")}
	if err := r.encode(b); err != nil {
		t.Fatal(err)
	}
	h := b.header()
	if h.Version != [3]uint32{4, 0, 0} || int(h.Data_start) != headerSize || int(h.Data_size) != len(b.bytes()) || int(h.Data_size) < headerSize+21 {
		t.Errorf("header %+v", h)
	}
	if h.Flags != unix.DM_NOFLUSH_FLAG || h.Event_nr != 5 || h.Target_count != 2 {
		t.Errorf("header %+v", h)
	}
	if got, _ := text(h.Uuid[:]); got != "TEST" {
		t.Errorf("uuid %q", got)
	}
	if got, _ := text(b.bytes()[headerSize:]); got != "payload" {
		t.Errorf("payload %q", got)
	}
}

// The kernel's start and end are used within the buffer's bounds only.
func TestAnswerBounds(t *testing.T) {
	for _, test := range []struct {
		start, size uint32
		want        int
	}{
		{312, 312, 0}, {312, 320, 8}, {312, 352, 40}, {320, 352, 32},
		{312, 353, 0}, {0, 352, 0}, {311, 352, 0}, {352, 312, 0}, {1 << 31, 1 << 31, 0}, {312, 1<<32 - 1, 0},
	} {
		b := newBuffer(40)
		b.header().Data_start, b.header().Data_size = test.start, test.size
		if got := len(b.answer()); got != test.want {
			t.Errorf("start %d, size %d: %d bytes, want %d", test.start, test.size, got, test.want)
		}
	}
}

func TestText(t *testing.T) {
	for raw, want := range map[string]string{"": "", "abc": "abc", "abc\x00def": "abc", "\x00": ""} {
		got, ended := text([]byte(raw))
		if got != want || ended != strings.Contains(raw, "\x00") {
			t.Errorf("%q: %q, %v", raw, got, ended)
		}
	}
}

// The flags are what lvm2's udev rules test: 0x4E in the upper half.
func TestUdevFlags(t *testing.T) {
	if udevFlags != 0x004E0000 {
		t.Errorf("%#x", udevFlags)
	}
}
