package writelog

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
)

// copySize is how much is copied at once, in bytes.
const copySize = 1 << 20

// Replay writes the entries with the given numbers to a device, in this order, and flushes it. What was discarded reads as
// zeros then.
func (l *Log) Replay(target *os.File, entries ...int) error {
	for _, n := range entries {
		entry := l.Entries[n]
		var err error
		switch {
		case entry.Is(Discard):
			err = discard(target, entry.Offset, entry.Length)
		default:
			err = l.copy(target, entry)
		}
		if err != nil {
			return fmt.Errorf("replay entry %d, %d bytes at %d: %w", n, entry.Length, entry.Offset, err)
		}
	}
	return target.Sync()
}

// Range gives the numbers from first to below end, for Replay.
func Range(first, end int) []int {
	numbers := make([]int, 0, max(0, end-first))
	for n := first; n < end; n++ {
		numbers = append(numbers, n)
	}
	return numbers
}

func (l *Log) copy(target *os.File, entry Entry) error {
	buffer := make([]byte, min(copySize, entry.Length))
	for done := int64(0); done < entry.Length; {
		part := buffer[:min(int64(len(buffer)), entry.Length-done)]
		if _, err := l.device.ReadAt(part, entry.data+done); err != nil {
			return err
		}
		if _, err := target.WriteAt(part, entry.Offset+done); err != nil {
			return err
		}
		done += int64(len(part))
	}
	return nil
}

// discard makes a range read as zeros: by a discard, which does so on sparse files, or by writing them where the device knows
// no discards.
func discard(target *os.File, offset, length int64) error {
	err := blockdevice.Discard(target, offset, length)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	zeros := make([]byte, min(copySize, length))
	for done := int64(0); done < length; {
		part := zeros[:min(int64(len(zeros)), length-done)]
		if _, err := target.WriteAt(part, offset+done); err != nil {
			return err
		}
		done += int64(len(part))
	}
	return nil
}
