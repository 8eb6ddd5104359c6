package uml

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// ErrInvalidMachine reports a Machine that cannot be booted as it is described.
var ErrInvalidMachine = errors.New("invalid machine")

const (
	// DefaultKernel is the name of the kernel in Debian's package user-mode-linux.
	DefaultKernel = "linux.uml"
	// DefaultMemory is the memory of a guest that asks for none, in bytes.
	DefaultMemory = 1 << 30

	// maximumDisks is the number of ubd devices (MAX_DEV in arch/um/drivers/ubd_kern.c).
	maximumDisks = 16
	// maximumCommandLine is COMMAND_LINE_SIZE of arch/um/include/asm/setup.h, in bytes. The kernel cuts off the rest.
	maximumCommandLine = 4096
	minimumMemory      = 64 << 20
	// firstChannelFile is the file descriptor of the kernel that exec.Cmd.ExtraFiles begins with.
	firstChannelFile = 3
)

// namePattern is what a machine's name may be; it becomes a file name below Directory.
var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

// Machine describes a guest. It is a plain value: the same one can be started again, also after a power cut.
type Machine struct {
	// Name tells guests apart: lower-case letters, digits and dashes, at most 40 of them. Two running guests of one
	// Directory need two names.
	Name string
	// Memory is the guest's memory in bytes, at least 64 MiB; zero means DefaultMemory. It is taken from the host's
	// /dev/shm page by page as the guest uses it.
	Memory int64
	// Disks are files of the host, in order /dev/ubda, /dev/ubdb, … of the guest; at most 16. A disk has its file's size
	// at the moment of the start.
	Disks []string
	// Networks are the guest's interfaces in order vec0, vec1, …, each in the words of the kernel's vector driver:
	// "transport=tap,ifname=tap0". They are opened in the network namespace of the calling process.
	Networks []string
	// Init is the absolute path of the program that becomes process 1. It must be executable.
	Init string
	// Words are appended to the kernel's command line. The kernel passes on those of the form KEY=VALUE as environment
	// variables of Init, at most about 25 of them.
	Words []string
	// Directory is a directory of the host for what the running kernel keeps beside its disks (process id, management
	// socket). It is made if it is missing and is the working directory of the kernel.
	Directory string
	// Kernel is the kernel to run, a path or a name in PATH; DefaultKernel when empty.
	Kernel string
	// Console receives the guest's console from one goroutine, nil for nobody. A write that blocks holds up the guest.
	Console io.Writer
	// Channels are further ways out of the guest, apart from the console and what the kernel says there: what the guest
	// writes to /dev/tty1, /dev/tty2, … is written to them, each from one goroutine. They are terminals in the guest, so
	// their line discipline wants to be made raw (guest.OpenChannel does).
	Channels []io.Writer
	// Input is typed into the guest's console until it ends, nil for nothing. The reader is not closed, and a Read that is
	// under way when the guest ends is left to its fate.
	Input io.Reader
}

// CommandLine returns the arguments for the kernel, the kernel itself excluded. The error wraps ErrInvalidMachine and
// names the field.
func (m Machine) CommandLine() ([]string, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	memory := m.Memory
	if memory == 0 {
		memory = DefaultMemory
	}
	line := []string{
		fmt.Sprintf("mem=%dK", memory>>10),
		"rootfstype=hostfs", "rootflags=/", "ro",
		// With a first disk the kernel would otherwise take that for its root.
		"root=/dev/root",
		"init=" + m.Init,
		"uml_dir=" + strings.TrimSuffix(m.Directory, "/") + "/", "umid=" + m.Name,
		"con=null", "con0=fd:0,fd:1",
		"oops=panic", "quiet",
	}
	for i := range m.Channels {
		line = append(line, fmt.Sprintf("con%d=null,fd:%d", i+1, firstChannelFile+i))
	}
	for i, disk := range m.Disks {
		line = append(line, fmt.Sprintf("ubd%d=%s", i, disk))
	}
	for i, network := range m.Networks {
		line = append(line, fmt.Sprintf("vec%d:%s", i, network))
	}
	line = append(line, m.Words...)
	if length := len(strings.Join(line, " ")); length >= maximumCommandLine {
		return nil, fmt.Errorf("%w: command line has %d bytes, at most %d are allowed", ErrInvalidMachine, length, maximumCommandLine-1)
	}
	return line, nil
}

func (m Machine) validate() error {
	refuse := func(field, value, allowed string) error {
		return fmt.Errorf("%w: %s %q: %s", ErrInvalidMachine, field, value, allowed)
	}
	if !namePattern.MatchString(m.Name) {
		return refuse("name", m.Name, "must match "+namePattern.String())
	}
	if m.Memory != 0 && m.Memory < minimumMemory {
		return refuse("memory", fmt.Sprint(m.Memory), fmt.Sprintf("must be 0 or at least %d bytes", minimumMemory))
	}
	if len(m.Disks) > maximumDisks {
		return refuse("disks", fmt.Sprint(len(m.Disks)), fmt.Sprintf("at most %d are allowed", maximumDisks))
	}
	for _, path := range append([]string{m.Init, m.Directory}, m.Disks...) {
		// Comma and colon separate a copy-on-write file from its backing file in the kernel's ubd words.
		if !filepath.IsAbs(path) || strings.ContainsAny(path, " \t\n\",:") {
			return refuse("path", path, "must be absolute, without white space, quotes, commas and colons")
		}
	}
	for _, word := range append(append([]string{}, m.Networks...), m.Words...) {
		if word == "" || strings.ContainsAny(word, " \t\n\"") {
			return refuse("word", word, "must not be empty or hold white space or quotes")
		}
	}
	return nil
}

func (m Machine) kernelPath() (string, error) {
	kernel := m.Kernel
	if kernel == "" {
		kernel = DefaultKernel
	}
	path, err := exec.LookPath(kernel)
	if err != nil {
		return "", fmt.Errorf("no User Mode Linux kernel (Debian's package user-mode-linux has it): %w", err)
	}
	return path, nil
}
