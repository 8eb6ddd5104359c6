package cluster

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/csi-dm/csi-dm/test/lab"
	"github.com/csi-dm/csi-dm/test/lab/control"
)

// NodeState is what the kernel of a node holds that may be the driver's.
type NodeState struct {
	// Devices are the names of all device mapper devices.
	Devices []string
	// Mounts are "DEVICE on PATH" for every mount of a device mapper device in any mount namespace.
	Mounts []string
}

func (s NodeState) String() string {
	return fmt.Sprintf("devices %q, mounts %q", s.Devices, s.Mounts)
}

// Beyond is what s has and the other one has not.
func (s NodeState) Beyond(other NodeState) NodeState {
	return NodeState{Devices: beyond(s.Devices, other.Devices), Mounts: beyond(s.Mounts, other.Mounts)}
}

// Empty tells whether there is nothing in s.
func (s NodeState) Empty() bool { return len(s.Devices) == 0 && len(s.Mounts) == 0 }

// InspectNode asks the node's kernel, past the driver.
func (c *Cluster) InspectNode(ctx context.Context, name string) (NodeState, error) {
	node, err := c.Lab.Node(ctx, name)
	if err != nil {
		return NodeState{}, err
	}
	names, err := deviceNames(ctx, node)
	if err != nil {
		return NodeState{}, err
	}
	// The processes come and go while they are read.
	result, err := node.Exec(ctx, "sh", "-c", "cat /proc/[0-9]*/mountinfo 2>/dev/null | sort -u")
	if err != nil {
		return NodeState{}, err
	}
	var state NodeState
	for _, name := range names {
		state.Devices = append(state.Devices, name)
	}
	state.Mounts = deviceMounts(string(result.Stdout), names)
	sort.Strings(state.Devices)
	return state, nil
}

// deviceNames maps "MAJOR:MINOR" to the device mapper name.
func deviceNames(ctx context.Context, node *lab.Node) (map[string]string, error) {
	output, err := dmsetup(ctx, node, "info", "--columns", "--noheadings", "--separator", " ", "--options", "major,minor,name")
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, line := range strings.Split(output, "\n") {
		if fields := strings.Fields(line); len(fields) == 3 && line != "No devices found" {
			names[fields[0]+":"+fields[1]] = fields[2]
		}
	}
	return names, nil
}

// deviceMounts picks the mounts of the devices out of lines of mountinfo, see proc(5).
func deviceMounts(mountinfo string, names map[string]string) []string {
	distinct := map[string]bool{}
	for _, line := range strings.Split(mountinfo, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if name, known := names[fields[2]]; known {
			distinct[name+" on "+fields[4]] = true
		}
	}
	mounts := make([]string, 0, len(distinct))
	for mount := range distinct {
		mounts = append(mounts, mount)
	}
	sort.Strings(mounts)
	return mounts
}

// PoolBlocks are the blocks that a pool uses of its data space, as the kernel counts them, and their size in bytes.
type PoolBlocks struct {
	Used, Total, Size int64
}

// PoolBlocks asks the node's kernel for the use of a pool, by the name of its device.
func (c *Cluster) PoolBlocks(ctx context.Context, nodeName, device string) (PoolBlocks, error) {
	node, err := c.Lab.Node(ctx, nodeName)
	if err != nil {
		return PoolBlocks{}, err
	}
	table, err := dmsetup(ctx, node, "table", device)
	if err != nil {
		return PoolBlocks{}, err
	}
	status, err := dmsetup(ctx, node, "status", device)
	if err != nil {
		return PoolBlocks{}, err
	}
	return parsePool(table, status)
}

// parsePool reads the table "START LENGTH thin-pool METADATA DATA BLOCKSECTORS …" and the status "START LENGTH thin-pool
// TRANSACTION USED/TOTAL USED/TOTAL …" of the kernel's thin-provisioning.rst.
func parsePool(table, status string) (PoolBlocks, error) {
	tableFields, statusFields := strings.Fields(table), strings.Fields(status)
	if len(tableFields) < 6 || len(statusFields) < 6 || statusFields[2] != "thin-pool" {
		return PoolBlocks{}, fmt.Errorf("table %q and status %q are not of a thin pool", table, status)
	}
	sectors, err := strconv.ParseInt(tableFields[5], 10, 64)
	if err != nil {
		return PoolBlocks{}, fmt.Errorf("block size of table %q: %w", table, err)
	}
	blocks := PoolBlocks{Size: sectors * 512}
	if _, err := fmt.Sscanf(statusFields[5], "%d/%d", &blocks.Used, &blocks.Total); err != nil {
		return PoolBlocks{}, fmt.Errorf("data blocks of status %q: %w", status, err)
	}
	return blocks, nil
}

// probe is the name of a device that exists only for a moment.
const probe = "e2e-probe"

// ThinDeviceExists asks the kernel whether a pool has a thin device of that id, by activating it read-only under a name of its
// own. The thin device must not be active.
func (c *Cluster) ThinDeviceExists(ctx context.Context, nodeName, pool string, id int64) (bool, error) {
	node, err := c.Lab.Node(ctx, nodeName)
	if err != nil {
		return false, err
	}
	// By number: there is no udev that would make links.
	names, err := deviceNames(ctx, node)
	if err != nil {
		return false, err
	}
	number := ""
	for candidate, name := range names {
		if name == pool {
			number = candidate
		}
	}
	if number == "" {
		return false, fmt.Errorf("no device %s on %s: there are %v", pool, nodeName, names)
	}
	_, err = dmsetup(ctx, node, "create", probe, "--readonly", "--table", fmt.Sprintf("0 8 thin %s %d", number, id))
	var exit *lab.ExitError
	if errors.As(err, &exit) {
		// ENODATA is what the kernel has for an id that is not in the pool's metadata.
		if strings.Contains(string(exit.Result.Stderr), "No data available") {
			return false, nil
		}
		return false, err
	}
	if err != nil {
		return false, err
	}
	_, err = dmsetup(ctx, node, "remove", probe)
	return true, err
}

// Processes are the ids of a node's processes whose program has the given name and whose first argument is argument.
func (c *Cluster) Processes(ctx context.Context, nodeName, program, argument string) ([]int, error) {
	node, err := c.Lab.Node(ctx, nodeName)
	if err != nil {
		return nil, err
	}
	// A pattern of the shell: grep does not see the processes' folders when it walks /proc by itself.
	result, err := node.Exec(ctx, "sh", "-c", `grep -lsx -- "$1" /proc/[0-9]*/comm`, "sh", program)
	if err != nil {
		return nil, err
	}
	var found []int
	for _, file := range strings.Fields(string(result.Stdout)) {
		id, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(file, "/proc/"), "/comm"))
		if err != nil {
			continue
		}
		arguments, err := node.Exec(ctx, "cat", fmt.Sprintf("/proc/%d/cmdline", id))
		if err != nil {
			return nil, err
		}
		if words := strings.Split(string(arguments.Stdout), "\x00"); len(words) > 1 && words[1] == argument {
			found = append(found, id)
		}
	}
	return found, nil
}

// dmsetup runs dmsetup on a node: it must not wait for an udev that is not there.
func dmsetup(ctx context.Context, node *lab.Node, arguments ...string) (string, error) {
	argv := append([]string{"dmsetup"}, arguments...)
	result, err := node.Run(ctx, control.ExecRequest{Argv: argv, Environment: []string{"DM_DISABLE_UDEV=1"}})
	if err != nil {
		return "", err
	}
	if result.ExitStatus != 0 {
		return "", &lab.ExitError{Node: node.Name, Argv: argv, Result: result}
	}
	return strings.TrimSpace(string(result.Stdout)), nil
}

func beyond(have, other []string) []string {
	known := map[string]bool{}
	for _, text := range other {
		known[text] = true
	}
	var more []string
	for _, text := range have {
		if !known[text] {
			more = append(more, text)
		}
	}
	return more
}
