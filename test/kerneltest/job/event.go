package job

// Kind tells events apart.
type Kind string

const (
	// Booted is the first event: the guest is set up. Kernel is its release.
	Booted Kind = "booted"
	// Started says that a step was started.
	Started Kind = "started"
	// Output is a piece of a step's standard output or error.
	Output Kind = "output"
	// Ended says how a step ended.
	Ended Kind = "ended"
	// Failed is the last event of a guest that could not do its job. Reason says why.
	Failed Kind = "failed"
)

// Event is one line of JSON on the guest's first channel.
type Event struct {
	Kind   Kind   `json:"kind"`
	Step   string `json:"step,omitempty"`
	Output []byte `json:"output,omitempty"`
	// Status is the exit status of an ended step, 128 and the signal's number if a signal ended it, 127 if it could not be
	// started.
	Status int    `json:"status,omitempty"`
	Kernel string `json:"kernel,omitempty"`
	Reason string `json:"reason,omitempty"`
}
