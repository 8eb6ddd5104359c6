//go:build kernel

package bench

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// diskIO is how many requests a disk has served. Unlike a time it does not depend on what else the machine does.
type diskIO struct{ reads, writes, flushes int }

// Fields of /sys/block/DISK/stat (Documentation/block/stat.rst in the kernel's sources).
const (
	statReads   = 0
	statWrites  = 4
	statFlushes = 15
)

func readDiskIO(t testing.TB, disk string) diskIO {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(disk), "stat"))
	must(t, err)
	fields := strings.Fields(string(content))
	number := func(field int) int {
		if field >= len(fields) {
			t.Fatalf("%s has %d statistics, not %d", disk, len(fields), field+1)
		}
		value, err := strconv.Atoi(fields[field])
		must(t, err)
		return value
	}
	return diskIO{reads: number(statReads), writes: number(statWrites), flushes: number(statFlushes)}
}

func (d diskIO) since(before diskIO) diskIO {
	return diskIO{d.reads - before.reads, d.writes - before.writes, d.flushes - before.flushes}
}
