package exectrace

import (
	"testing"

	"github.com/csi-dm/csi-dm/test/e2e/exectrace/audit"
)

func TestParse(t *testing.T) {
	execs, lost, err := parse([]byte(`{"pid":5,"parentPID":1,"executable":"/usr/sbin/mke2fs","arguments":["mkfs.ext4","/dev/x"]}` + "\n" + `{"pid":6,"par`))
	if err != nil || lost != nil || len(execs) != 1 || execs[0].PID != 5 {
		t.Fatalf("incomplete record: %v, %v, %v", execs, lost, err)
	}
	execs, lost, err = parse([]byte(`{"pid":5,"executable":"/bin/true"}` + "\n" + `{"lost":3}` + "\n"))
	if err != nil || lost == nil || *lost != 3 || len(execs) != 1 {
		t.Fatalf("complete record: %v, %v, %v", execs, lost, err)
	}
	if _, _, err := parse([]byte("panic: no\n")); err == nil {
		t.Fatal("text that is no record was taken")
	}
}

func TestMakersAndDescendants(t *testing.T) {
	execs := []audit.Exec{
		{PID: 10, ParentPID: 2, Executable: "/usr/bin/runc", Arguments: []string{"runc"}},
		{PID: 11, ParentPID: 7, Executable: "/usr/bin/dash", Arguments: []string{"sh"}},
		{PID: 12, ParentPID: 11, Executable: "/usr/sbin/mke2fs", Arguments: []string{"mkfs.ext4"}},
		{PID: 13, ParentPID: 2, Executable: "/sbin/mkfs.xfs", Arguments: []string{"mkfs.xfs"}},
		{PID: 14, ParentPID: 2, Executable: "/bin/hidden", Arguments: []string{"/sbin/mkfs.ext3"}},
		{PID: 15, ParentPID: 2, Executable: "/bin/true"},
	}
	if makers := Makers(execs); len(makers) != 3 {
		t.Errorf("Makers: %v", makers)
	}
	if found := DescendantsOf(execs, []int{7}); len(found) != 2 || found[0].PID != 11 || found[1].PID != 12 {
		t.Errorf("DescendantsOf: %v", found)
	}
}
