package cluster

// The file descriptors that the lab's first process inherits from "lab up".
const (
	// ListenerDescriptor is a TCP listener on the host's loopback. A socket stays in the network namespace that it was made in,
	// so connections to it lead into the lab.
	ListenerDescriptor = 3
	// ReportDescriptor is a pipe for Reports, one JSON document each.
	ReportDescriptor = 4
)

// Report is a message of the supervisor while the lab comes up.
type Report struct {
	// Line is for people.
	Line string `json:"line,omitempty"`
	// Error says why there will be no lab, Up that it is up. One of them ends the reports.
	Error string `json:"error,omitempty"`
	Up    bool   `json:"up,omitempty"`
}
