//go:build kernel

package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fdatasyncs measures what makes 4 KiB durable on a disk: overwriting a block of a file of ext4 that was written before, as
// the registry's file is, and fdatasync(2). The engine's commit needs two of them.
func fdatasyncs(t testing.TB, disk string, count int) sample {
	t.Helper()
	if output, err := exec.Command("mkfs.ext4", "-q", "-F", "-E", "nodiscard", disk, "256m").CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, output)
	}
	directory := t.TempDir()
	must(t, unix.Mount(disk, directory, "ext4", 0, "noinit_itable"))
	defer func() { must(t, unix.Unmount(directory, 0)) }()
	file, err := os.Create(filepath.Join(directory, "file"))
	must(t, err)
	defer file.Close()
	block := make([]byte, 4096)
	_, err = file.Write(make([]byte, 1<<20))
	must(t, err)
	must(t, file.Sync())
	var result sample
	for i := range count {
		block[0] = byte(i)
		began := time.Now()
		_, err := file.WriteAt(block, int64(i%256)*4096)
		must(t, err)
		must(t, unix.Fdatasync(int(file.Fd())))
		result = append(result, time.Since(began))
	}
	return result
}
