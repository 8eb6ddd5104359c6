package runner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/csi-dm/csi-dm/test/kerneltest/job"
	"github.com/csi-dm/csi-dm/test/uml"
)

const (
	diskCount = 4
	// tmpfsMagic is TMPFS_MAGIC of linux/magic.h.
	tmpfsMagic = 0x01021994
)

// bench is where guests of one run live: files on the host, made before the first guest and removed after the last.
type bench struct {
	directory     string // binaries, jobs, results
	diskDirectory string
	diskSize      int64 // bytes
	init          string
	removers      []func() error
}

// newBench makes directories. Disks of it have diskSize bytes, or the default. Call remove in any case.
func newBench(cache string, diskSize int64) (*bench, error) {
	if diskSize == 0 {
		diskSize = DefaultDiskSize
	}
	result := &bench{diskSize: diskSize}
	directory, remove, err := NewWorkspace(cache)
	if err != nil {
		return result, err
	}
	result.directory, result.diskDirectory = directory, directory
	result.removers = append(result.removers, remove)

	// Memory is faster, and a test's fsync costs the host nothing.
	var stat syscall.Statfs_t
	if syscall.Statfs("/dev/shm", &stat) == nil && stat.Type == tmpfsMagic {
		if result.diskDirectory, remove, err = NewWorkspace("/dev/shm"); err != nil {
			return result, err
		}
		result.removers = append(result.removers, remove)
	}
	return result, nil
}

// makeDisks makes the disks of the guests with that number, of which one lives at a time.
func (b *bench) makeDisks(number int) ([]string, error) {
	var disks []string
	for i := range diskCount {
		disk := filepath.Join(b.diskDirectory, fmt.Sprintf("disk-%d-%d", number, i))
		if err := os.WriteFile(disk, nil, 0o600); err != nil {
			return nil, err
		}
		if err := os.Truncate(disk, b.diskSize); err != nil {
			return nil, err
		}
		disks = append(disks, disk)
	}
	return disks, nil
}

func (b *bench) remove() error {
	var failures []error
	for _, remove := range b.removers {
		failures = append(failures, remove())
	}
	return errors.Join(failures...)
}

// guestJob is a job and the files of the disks that it is done with.
type guestJob struct {
	job.Job
	disks []string
}

// machine describes the guest with that number which does the job.
func (b *bench) machine(number int, description guestJob, memory int64) (uml.Machine, error) {
	path := filepath.Join(b.directory, fmt.Sprintf("job-%d.json", number))
	if err := description.Write(path); err != nil {
		return uml.Machine{}, err
	}
	return uml.Machine{
		Name:      fmt.Sprintf("kernel-test-%d", number),
		Memory:    memory,
		Disks:     description.disks,
		Init:      b.init,
		Words:     []string{job.FileVariable + "=" + path},
		Directory: filepath.Join(b.directory, "machine"),
	}, nil
}

// job describes steps in terms of this bench.
func (b *bench) job(disks []string, steps ...job.Step) guestJob {
	description := guestJob{Job: job.Job{Modules: modules, Directory: b.directory, Steps: steps}, disks: disks}
	for i := range disks {
		description.Disks = append(description.Disks, fmt.Sprintf("/dev/ubd%c", 'a'+i))
	}
	return description
}
