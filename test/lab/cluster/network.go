package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// The lab's addresses. They exist inside the lab's network namespace and nowhere else, so they may be the same in all labs.
const (
	bridge         = "lab0"
	gateway        = "192.168.77.1"
	nodeNetwork    = "192.168.77."
	serviceNetwork = "10.96.0.0/16"
	// apiService is the first address of serviceNetwork, which kube-apiserver takes for the Service "kubernetes".
	apiService = "10.96.0.1"
	apiPort    = "6443"
	// firstNode is the last byte of the first node's address.
	firstNode = 11
	// clusterNetwork holds the pods of all nodes.
	clusterNetwork = "10.77.0.0/16"
)

// address is the address of the node with this index, from 0.
func address(index int) string { return fmt.Sprintf("%s%d", nodeNetwork, firstNode+index) }

// podNetwork is the range of the node's pods, podGateway the node's own address in it.
func podNetwork(index int) string { return fmt.Sprintf("10.77.%d.0/24", index) }
func podGateway(index int) string { return fmt.Sprintf("10.77.%d.1", index) }

// hardwareAddress is fixed, so that the lab's neighbour table stays right when a node boots again.
func hardwareAddress(index int) string { return fmt.Sprintf("02:77:00:00:00:%02x", firstNode+index) }

func tap(index int) string { return fmt.Sprintf("tap%d", index) }

// setUpNetwork makes the bridge that nodes and control plane meet on, in the network namespace of this process.
func setUpNetwork(ctx context.Context) error {
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return err
	}
	return ip(ctx,
		"link set lo up",
		"link add "+bridge+" type bridge forward_delay 0",
		// The guests read from their taps by packet sockets, which get what TCP handed to the device in one piece and drop what is
		// larger than the MTU: 25 kB/s instead of 5 MB/s towards a node, by retransmissions alone.
		"link set "+bridge+" gso_max_segs 1",
		"address add "+gateway+"/24 dev "+bridge,
		"link set "+bridge+" up",
	)
}

// connect makes the tap device for a node and the route to its pods.
func connect(ctx context.Context, index int) error {
	return ip(ctx,
		"tuntap add mode tap name "+tap(index),
		"link set "+tap(index)+" master "+bridge,
		"link set "+tap(index)+" up",
		"route add "+podNetwork(index)+" via "+address(index),
	)
}

// ip runs commands of ip(8).
func ip(ctx context.Context, commands ...string) error {
	command := exec.CommandContext(ctx, "ip", "-batch", "-")
	command.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("ip: %w: %s", err, strings.TrimSpace(string(output)))
	}
	return nil
}
