package uml

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// killPatience bounds the wait for killed processes to be gone.
const killPatience = 10 * time.Second

// killGroup kills every process of the group and waits until none is left but zombies, which hold nothing.
func killGroup(group int) error {
	for deadline := time.Now().Add(killPatience); ; {
		if err := syscall.Kill(-group, syscall.SIGKILL); errors.Is(err, syscall.ESRCH) {
			return nil
		} else if err != nil {
			return fmt.Errorf("kill process group %d: %w", group, err)
		}
		alive, err := groupAlive(group)
		if err != nil || !alive {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("process group %d is still there %s after SIGKILL", group, killPatience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// groupAlive tells whether the group has a process that is not a zombie. A zombie whose parent never waits for it
// (process 1 of some containers) would keep kill(2) successful for ever.
func groupAlive(group int) (bool, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return false, err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		state, processGroup, ok := parseStat(content)
		if ok && processGroup == group && state != "Z" && state != "X" {
			return true, nil
		}
	}
	return false, nil
}

// parseStat takes state and process group from a /proc/PID/stat (proc_pid_stat(5)). The command in its second field may
// hold blanks and parentheses, so fields are counted from its last parenthesis.
func parseStat(content []byte) (state string, group int, ok bool) {
	end := bytes.LastIndexByte(content, ')')
	if end < 0 {
		return "", 0, false
	}
	fields := strings.Fields(string(content[end+1:]))
	if len(fields) < 3 {
		return "", 0, false
	}
	group, err := strconv.Atoi(fields[2])
	return fields[0], group, err == nil
}
