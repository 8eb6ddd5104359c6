package uml

import (
	"errors"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	machine := Machine{
		Name: "node-a", Memory: 512 << 20, Disks: []string{"/d/a", "/d/b"}, Networks: []string{"transport=tap,ifname=tap0"},
		Init: "/i/init", Words: []string{"JOB=/j"}, Directory: "/run/node-a",
	}
	words, err := machine.CommandLine()
	if err != nil {
		t.Fatal(err)
	}
	line := " " + strings.Join(words, " ") + " "
	for _, want := range []string{
		"mem=524288K", "init=/i/init", "root=/dev/root", "rootfstype=hostfs", "ro", "uml_dir=/run/node-a/", "umid=node-a",
		"ubd0=/d/a", "ubd1=/d/b", "vec0:transport=tap,ifname=tap0", "JOB=/j",
	} {
		if !strings.Contains(line, " "+want+" ") {
			t.Errorf("no word %q in %q", want, line)
		}
	}
}

func TestCommandLineRefuses(t *testing.T) {
	valid := func() Machine { return Machine{Name: "a", Init: "/init", Directory: "/run/a"} }
	if _, err := valid().CommandLine(); err != nil {
		t.Fatalf("valid machine: %v", err)
	}
	for name, change := range map[string]func(*Machine){
		"no name":              func(m *Machine) { m.Name = "" },
		"name with a path":     func(m *Machine) { m.Name = "../a" },
		"little memory":        func(m *Machine) { m.Memory = 1 << 20 },
		"negative memory":      func(m *Machine) { m.Memory = -1 },
		"relative init":        func(m *Machine) { m.Init = "init" },
		"relative directory":   func(m *Machine) { m.Directory = "run" },
		"seventeen disks":      func(m *Machine) { m.Disks = strings.Split(strings.Repeat(",/d", 17)[1:], ",") },
		"disk with a backing":  func(m *Machine) { m.Disks = []string{"/a,/b"} },
		"word with a blank":    func(m *Machine) { m.Words = []string{"A=b c"} },
		"network with a blank": func(m *Machine) { m.Networks = []string{"transport=tap ifname=x"} },
		"endless line":         func(m *Machine) { m.Words = []string{strings.Repeat("x", maximumCommandLine)} },
	} {
		machine := valid()
		change(&machine)
		if _, err := machine.CommandLine(); !errors.Is(err, ErrInvalidMachine) {
			t.Errorf("%s: got %v, want ErrInvalidMachine", name, err)
		}
	}
}

func TestParseStat(t *testing.T) {
	state, group, ok := parseStat([]byte("12 (a) Z b) R 1 77 77 0 -1"))
	if !ok || state != "R" || group != 77 {
		t.Errorf("got %q, %d, %v", state, group, ok)
	}
	for _, broken := range []string{"", "12 (a", "12 (a) R 1", "12 (a) R 1 x"} {
		if _, _, ok := parseStat([]byte(broken)); ok {
			t.Errorf("%q was taken", broken)
		}
	}
}

func TestTail(t *testing.T) {
	tail := newTail(4)
	for _, part := range []string{"abc", "", "defghijkl", "m"} {
		if n, err := tail.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	if got := tail.String(); got != "jklm" {
		t.Errorf("got %q", got)
	}
}

func TestPoweredOff(t *testing.T) {
	for console, want := range map[string]bool{
		"done\nreboot: System halted\n":      true,
		"done\nreboot: Power down\n":         true,
		"Kernel panic - not syncing: oops\n": false,
		"":                                   false,
	} {
		if got := poweredOff(console); got != want {
			t.Errorf("%q: got %v, want %v", console, got, want)
		}
	}
}
