//go:build e2e

package bench

import (
	"fmt"
	"strconv"
	"strings"
)

// residentBytes is the largest resident memory among the driver's processes of a role on a node, 0 if there is none.
func (r *clusterRun) residentBytes(node, role string) int64 {
	r.t.Helper()
	processes, err := r.Processes(r.ctx, node, "csi-dm", role)
	noError(r.t, err)
	machine, err := r.Lab.Node(r.ctx, node)
	noError(r.t, err)
	var most int64
	for _, process := range processes {
		output, err := machine.Output(r.ctx, "grep", "^VmRSS:", fmt.Sprintf("/proc/%d/status", process))
		noError(r.t, err)
		fields := strings.Fields(output)
		if len(fields) != 3 {
			r.t.Fatalf("process %d: %q", process, output)
		}
		kibibytes, err := strconv.ParseInt(fields[1], 10, 64)
		noError(r.t, err)
		most = max(most, kibibytes<<10)
	}
	return most
}
