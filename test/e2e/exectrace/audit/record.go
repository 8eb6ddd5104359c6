package audit

import (
	"encoding/hex"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Exec is one program that was executed.
type Exec struct {
	// PID and ParentPID are process ids of the initial PID namespace.
	PID       int `json:"pid"`
	ParentPID int `json:"parentPID"`
	// Executable is the path of the program's file, as seen from the process that executed it.
	Executable string   `json:"executable"`
	Arguments  []string `json:"arguments"`
}

func (e Exec) String() string {
	return fmt.Sprintf("pid %d (parent %d) %s: %q", e.PID, e.ParentPID, e.Executable, e.Arguments)
}

// Types of the records that make up one system call's event.
const (
	recordSyscall   = 1300
	recordExecve    = 1309
	recordEndOfCall = 1320
)

// assembler puts the records of an event together: they share a serial number and end with a record that says so.
type assembler struct {
	pending map[string]*partialExec
}

type partialExec struct {
	exec      Exec
	succeeded bool
	arguments map[int]string
}

// add takes a record and returns a complete Exec once the record ends one. Failed calls, as a shell makes when it searches
// PATH, are no Execs.
func (a *assembler) add(kind uint16, text string) (Exec, bool, error) {
	serial, fields, err := parseRecord(text)
	if err != nil {
		return Exec{}, false, err
	}
	if a.pending == nil {
		a.pending = map[string]*partialExec{}
	}
	switch kind {
	case recordSyscall:
		partial := a.partial(serial)
		partial.succeeded = fields["success"] == "yes"
		partial.exec.Executable = fields["exe"]
		if partial.exec.PID, err = strconv.Atoi(fields["pid"]); err != nil {
			return Exec{}, false, fmt.Errorf("pid of record %q: %w", text, err)
		}
		if partial.exec.ParentPID, err = strconv.Atoi(fields["ppid"]); err != nil {
			return Exec{}, false, fmt.Errorf("ppid of record %q: %w", text, err)
		}
	case recordExecve:
		partial := a.partial(serial)
		for key, value := range fields {
			if index, err := strconv.Atoi(strings.TrimPrefix(key, "a")); err == nil && strings.HasPrefix(key, "a") {
				partial.arguments[index] = value
			}
		}
	case recordEndOfCall:
		partial, known := a.pending[serial]
		delete(a.pending, serial)
		if known && partial.succeeded {
			return partial.complete(), true, nil
		}
	}
	return Exec{}, false, nil
}

func (a *assembler) partial(serial string) *partialExec {
	if a.pending[serial] == nil {
		a.pending[serial] = &partialExec{arguments: map[int]string{}}
	}
	return a.pending[serial]
}

func (p *partialExec) complete() Exec {
	indexes := make([]int, 0, len(p.arguments))
	for index := range p.arguments {
		indexes = append(indexes, index)
	}
	sort.Ints(indexes)
	for _, index := range indexes {
		p.exec.Arguments = append(p.exec.Arguments, p.arguments[index])
	}
	return p.exec
}

// parseRecord splits "audit(1700000000.123:45): key=value key="value" key=68656C6C6F" into serial number and fields. A value that
// holds a space, a quote or a control character is written by the kernel as hexadecimal digits without quotes.
func parseRecord(text string) (string, map[string]string, error) {
	header, rest, found := strings.Cut(text, "): ")
	stamp, isAudit := strings.CutPrefix(header, "audit(")
	colon := strings.LastIndexByte(stamp, ':')
	if !found || !isAudit || colon < 0 {
		// An end-of-event record has nothing after its header.
		stamp, isAudit = strings.CutPrefix(strings.TrimRight(text, " :\x00)"), "audit(")
		if colon = strings.LastIndexByte(stamp, ':'); !isAudit || colon < 0 {
			return "", nil, fmt.Errorf("%q is no audit record", text)
		}
	}
	fields := map[string]string{}
	for rest != "" {
		var key, value string
		key, rest, _ = strings.Cut(strings.TrimLeft(rest, " "), "=")
		if quoted, isQuoted := strings.CutPrefix(rest, `"`); isQuoted {
			value, rest, _ = strings.Cut(quoted, `"`)
		} else {
			value, rest, _ = strings.Cut(rest, " ")
			value = unhex(key, value)
		}
		fields[key] = value
	}
	return stamp[colon+1:], fields, nil
}

// unhex decodes the values that the kernel may write in hexadecimal; in all other fields digits are digits.
func unhex(key, value string) string {
	isText := key == "exe" || key == "comm" || (strings.HasPrefix(key, "a") && strings.Trim(key[1:], "0123456789") == "")
	if !isText {
		return value
	}
	decoded, err := hex.DecodeString(value)
	if err != nil {
		return value
	}
	return string(decoded)
}
