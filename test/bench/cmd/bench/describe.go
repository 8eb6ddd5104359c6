//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// describeRun says where and when the figures were taken.
func describeRun(command, loadBefore, loadAfter string) string {
	return fmt.Sprintf("Printed by `%s` on %s: guest with one processor on a host with %d × %s, %s; load average of the host %s at the beginning, %s at the end.\n",
		command, time.Now().UTC().Format("2006-01-02 15:04 UTC"), runtime.NumCPU(), processor(), hostKernel(), loadBefore, loadAfter)
}

func describeLoad() string {
	content, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(content))
	if err != nil || len(fields) == 0 {
		return "unknown"
	}
	return fields[0]
}

func processor() string {
	content, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(content)) {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return "unknown processors"
}

func hostKernel() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown kernel"
	}
	return "Linux " + unix.ByteSliceToString(name.Release[:])
}
