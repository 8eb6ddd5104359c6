package audit

import (
	"reflect"
	"testing"
)

func TestAssembler(t *testing.T) {
	// As a 6.1 kernel wrote them; the records of two calls are interleaved.
	records := []struct {
		kind uint16
		text string
	}{
		{recordSyscall, `audit(1700000000.123:7): arch=c000003e syscall=59 success=yes exit=0 a0=55d0 a1=55d8 items=2 ppid=1 pid=684 auid=4294967295 comm="true" exe="/usr/bin/true" subj=unconfined key=(null)`},
		{recordSyscall, `audit(1700000000.123:8): arch=c000003e syscall=59 success=no exit=-2 a0=55d0 ppid=1 pid=685 comm="sh" exe="/usr/bin/dash" key=(null)`},
		{recordExecve, `audit(1700000000.123:7): argc=4 a0="/bin/true" a1="one" a2=74776F207468726565 a3="10"`},
		{recordEndOfCall, `audit(1700000000.123:8): `},
		{recordEndOfCall, `audit(1700000000.123:7): `},
	}
	want := []Exec{{PID: 684, ParentPID: 1, Executable: "/usr/bin/true", Arguments: []string{"/bin/true", "one", "two three", "10"}}}
	var a assembler
	var got []Exec
	for _, record := range records {
		exec, complete, err := a.add(record.kind, record.text)
		if err != nil {
			t.Fatal(err)
		}
		if complete {
			got = append(got, exec)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if len(a.pending) != 0 {
		t.Errorf("%d events are left pending", len(a.pending))
	}
}

func TestAssemblerRefusesOtherText(t *testing.T) {
	for _, text := range []string{"", "audit(", "something else", "audit(12.3:4): pid=x ppid=1"} {
		var a assembler
		if _, _, err := a.add(recordSyscall, text); err == nil {
			t.Errorf("record %q was taken", text)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(`audit(1700000000.123:7): argc=2 a0="x" a1=6162`)
	f.Add(`audit(1:2): `)
	f.Fuzz(func(t *testing.T, text string) {
		if _, fields, err := parseRecord(text); err == nil && fields == nil {
			t.Fatalf("%q has neither fields nor an error", text)
		}
	})
}
