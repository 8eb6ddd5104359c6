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
	directory string // binaries, job, results
	disks     []string
	init      string
	removers  []func() error
}

// newBench makes directories and disks of diskSize bytes. Call remove in any case.
func newBench(cache string, diskSize int64) (*bench, error) {
	if diskSize == 0 {
		diskSize = DefaultDiskSize
	}
	result := &bench{}
	directory, remove, err := NewWorkspace(cache)
	if err != nil {
		return result, err
	}
	result.directory = directory
	result.removers = append(result.removers, remove)

	// Memory is faster, and a test's fsync costs the host nothing.
	diskDirectory := directory
	var stat syscall.Statfs_t
	if syscall.Statfs("/dev/shm", &stat) == nil && stat.Type == tmpfsMagic {
		if diskDirectory, remove, err = NewWorkspace("/dev/shm"); err != nil {
			return result, err
		}
		result.removers = append(result.removers, remove)
	}
	for i := range diskCount {
		disk := filepath.Join(diskDirectory, fmt.Sprintf("disk-%d", i))
		if err := os.WriteFile(disk, nil, 0o600); err != nil {
			return result, err
		}
		if err := os.Truncate(disk, diskSize); err != nil {
			return result, err
		}
		result.disks = append(result.disks, disk)
	}
	return result, nil
}

func (b *bench) remove() error {
	var failures []error
	for _, remove := range b.removers {
		failures = append(failures, remove())
	}
	return errors.Join(failures...)
}

// machine describes the guest that does the job.
func (b *bench) machine(description job.Job, memory int64) (uml.Machine, error) {
	path := filepath.Join(b.directory, "job.json")
	if err := description.Write(path); err != nil {
		return uml.Machine{}, err
	}
	return uml.Machine{
		Name:      "kernel-test",
		Memory:    memory,
		Disks:     b.disks,
		Init:      b.init,
		Words:     []string{job.FileVariable + "=" + path},
		Directory: filepath.Join(b.directory, "machine"),
	}, nil
}

// job describes steps in terms of this bench.
func (b *bench) job(steps []job.Step) job.Job {
	description := job.Job{Modules: modules, Directory: b.directory, Steps: steps}
	for i := range b.disks {
		description.Disks = append(description.Disks, fmt.Sprintf("/dev/ubd%c", 'a'+i))
	}
	return description
}
