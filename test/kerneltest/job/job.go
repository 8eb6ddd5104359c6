package job

import (
	"encoding/json"
	"fmt"
	"os"
)

// FileVariable is the environment variable of process 1 that holds the path of the job's file, on the host and in the
// guest.
const FileVariable = "CSI_DM_JOB"

// Job is what a guest does in one life.
type Job struct {
	// Modules are kernel modules to load. One that is missing ends the guest.
	Modules []string `json:"modules"`
	// Directory of the host is writable in the guest, at the same path; everything else of the host is read-only there.
	Directory string `json:"directory"`
	// Disks are device names of the machine's disks that tests may overwrite.
	Disks []string `json:"disks"`
	// Steps run one after another.
	Steps []Step `json:"steps"`
	// Interactive gives the console to the steps instead of reporting their output.
	Interactive bool `json:"interactive,omitempty"`
	// Rows and Columns are the size of an interactive console in characters; zero if unknown.
	Rows    uint16 `json:"rows,omitempty"`
	Columns uint16 `json:"columns,omitempty"`
}

// Step is one program to run.
type Step struct {
	Name      string   `json:"name"`
	Command   []string `json:"command"`
	Directory string   `json:"directory"`
	// Environment is added to what the guest sets (PATH, HOME, TMPDIR, the variables of this package).
	Environment []string `json:"environment,omitempty"`
}

// Write writes the job into a file.
func (j Job) Write(path string) error {
	content, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

// Read reads the job from a file.
func Read(path string) (Job, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Job{}, err
	}
	var result Job
	if err := json.Unmarshal(content, &result); err != nil {
		return Job{}, fmt.Errorf("%s: %w", path, err)
	}
	return result, nil
}
