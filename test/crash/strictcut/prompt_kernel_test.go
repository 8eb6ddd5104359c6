//go:build kernel

package strictcut

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// takeAtOnce has a disk's queue take every request at once, until the end of the test.
//
// The target log-writes notes what a flush will make durable when the flush passes by, and records it when that flush
// completes. So it counts on flushes completing in the order in which they passed by. But a request may sleep between the target
// and the queue: the kernel throttles writeback (block/blk-wbt.c), and each request waits for a free tag. A later flush may
// overtake one that sleeps. On the disk it keeps all that was complete by then; in the record that is still missing.
func takeAtOnce(t *testing.T, disk string) {
	t.Helper()
	queue := filepath.Join("/sys/class/block", filepath.Base(disk), "queue")
	for _, setting := range []struct{ file, value string }{
		{"scheduler", "mq-deadline"}, // without one there are no more tags than the disk has
		{"nr_requests", "2048"},      // far more than the load has under way
		{"wbt_lat_usec", "0"},        // no throttling
	} {
		path := filepath.Join(queue, setting.file)
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(setting.value), 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.WriteFile(path, []byte(chosen(string(before))), 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// chosen gives the value of a setting of which all possible ones are listed, the chosen one in brackets, or else the setting.
func chosen(setting string) string {
	if _, behind, listed := strings.Cut(setting, "["); listed {
		setting, _, _ = strings.Cut(behind, "]")
	}
	return strings.TrimSpace(setting)
}
