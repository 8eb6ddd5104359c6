//go:build linux

package bench

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Host describes the machine that the benchmark runs on.
func Host() string {
	return fmt.Sprintf("%d × %s, %s", runtime.NumCPU(), processor(), hostKernel())
}

// HostLoad is the machine's load average of the last minute.
func HostLoad() string {
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
