// Package job is what the host and the guest of the power-cut test say to each other: a Job in a file on the way in, Messages
// as lines of JSON on the way out.
package job

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/csi-dm/csi-dm/test/crash/history"
	"github.com/csi-dm/csi-dm/test/crash/inspect"
)

// FileVariable names the job's file in the guest's environment.
const FileVariable = "CRASH_JOB"

// Modules of the kernel that the guest needs.
var Modules = []string{"loop", "dm-mod", "dm-thin-pool", "ext4", "xfs"}

// Source is what a machine's pool lies on.
type Source string

// The sources.
const (
	Devices    Source = "devices"     // disks that the engine divides itself
	HandedOver Source = "handed over" // a thin pool of somebody else, who activates it; the registry is a thin device in it
	Loopback   Source = "loopback"    // a file on an ext4 of the machine
)

// SourceOf gives the source of the machine with a seed: of five, three have disks, and the others one each of the rest.
func SourceOf(seed uint64) Source {
	switch seed % 5 {
	case 0:
		return HandedOver
	case 1:
		return Loopback
	}
	return Devices
}

// Job is what one boot of the guest does: open the pool, judge it, and work on it until the power is cut.
type Job struct {
	Seed uint64 `json:"seed"`
	// Boot counts the boots on these disks, from 0.
	Boot   int    `json:"boot"`
	Source Source `json:"source"`
	// Disks that the source is made of, as the guest names them.
	Disks []string `json:"disks"`
	// History up to the last cut.
	History *history.History `json:"history"`
	// Last: judge the pool and power off.
	Last bool `json:"last"`
}

// Phase is what the guest is at.
type Phase string

// The phases, in their order.
const (
	Opening    Phase = "opening"    // opens the pool: makes it, or recovers
	Inspecting Phase = "inspecting" // recovery is done; volumes replay their journals
	Reopening  Phase = "reopening"  // opens it once more
	Loading    Phase = "loading"    // works on it
	Finished   Phase = "finished"
)

// Message is one line from the guest. One field is set.
type Message struct {
	Phase  Phase           `json:"phase,omitempty"`
	Event  *history.Event  `json:"event,omitempty"`
	Result *inspect.Result `json:"result,omitempty"`
	// Failed: what was wrong with the pool, or with the guest.
	Failed string `json:"failed,omitempty"`
}

// Write writes the job to a file.
func (j Job) Write(path string) error {
	raw, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}

// Read reads a job from its file.
func Read(path string) (Job, error) {
	var j Job
	raw, err := os.ReadFile(path)
	if err != nil {
		return j, err
	}
	if err := json.Unmarshal(raw, &j); err != nil {
		return j, fmt.Errorf("%s: %w", path, err)
	}
	return j, nil
}
