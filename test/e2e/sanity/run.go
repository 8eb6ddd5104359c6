package sanity

import (
	"context"
	"fmt"
	"path"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"github.com/csi-dm/csi-dm/test/e2e/cluster"
	"github.com/csi-dm/csi-dm/test/lab"
	"github.com/csi-dm/csi-dm/test/lab/control"
)

const (
	kubelet = "/var/lib/kubelet"
	// nodeSocket is where kubelet calls the node plugin.
	nodeSocket = kubelet + "/plugins/csi-dm.io/csi.sock"
	// folder on the node holds what a run needs and leaves.
	folder = "/run/csi-sanity"
	// hostRoot is where a node has the machine's root directory, whatever it has mounted above parts of it.
	hostRoot = "/.host"
)

// Options say what csi-sanity does.
type Options struct {
	// AccessType of the volumes: mount or block.
	AccessType string
	// VolumeSize and ExpandSize in bytes: what volumes are made with, and what they grow to.
	VolumeSize, ExpandSize int64
	// Parameters of the volumes, as YAML.
	Parameters string
}

// Run runs csi-sanity on the node that a controller's pod is on: there the sockets of both services are files. It returns all
// cases; an error is about running it at all. What it prints is returned too, for people.
func Run(ctx context.Context, c *cluster.Cluster, controller *corev1.Pod, options Options) (cases []Case, output string, err error) {
	node, err := c.Lab.Node(ctx, controller.Spec.NodeName)
	if err != nil {
		return nil, "", err
	}
	program, err := filepath.EvalSymlinks(c.Lab.Tool("csi-sanity"))
	if err != nil {
		return nil, "", err
	}
	controllerSocket := path.Join(folder, "controller.sock")
	parameters := path.Join(folder, "parameters.yaml")
	report := path.Join(folder, "report.json")
	// The path of a pod's directory is almost as long as that of a socket may be: a link is short.
	prepare := `rm -rf -- "$1" && mkdir -- "$1" && ln -s -- "$2" "$3" && test -S "$3" && test -S "$4" && cat >"$5"`
	if _, err := run(ctx, node, options.Parameters, "sh", "-ec", prepare, "sh",
		folder, socketOf(controller), controllerSocket, nodeSocket, parameters); err != nil {
		return nil, "", err
	}
	result, err := node.Exec(ctx, hostRoot+program,
		"--csi.endpoint=unix:"+nodeSocket,
		"--csi.controllerendpoint=unix:"+controllerSocket,
		// Both are made and removed by csi-sanity; the driver takes paths below kubelet's directory only.
		"--csi.mountdir="+kubelet+"/csi-sanity-target",
		"--csi.stagingdir="+kubelet+"/csi-sanity-staging",
		"--csi.testvolumeaccesstype="+options.AccessType,
		fmt.Sprintf("--csi.testvolumesize=%d", options.VolumeSize),
		fmt.Sprintf("--csi.testvolumeexpandsize=%d", options.ExpandSize),
		"--csi.testvolumeparameters="+parameters,
		"--ginkgo.json-report="+report,
		"--ginkgo.no-color",
	)
	if err != nil {
		return nil, "", err
	}
	output = string(result.Stdout) + string(result.Stderr)
	text, err := run(ctx, node, "", "cat", report)
	if err != nil {
		return nil, output, fmt.Errorf("csi-sanity ended with %d and left no report: %w", result.ExitStatus, err)
	}
	cases, err = parseReport(text)
	return cases, output, err
}

// socketOf is the controller's socket, which its pod has in a volume in memory, as the node finds it.
func socketOf(controller *corev1.Pod) string {
	return path.Join(kubelet, "pods", string(controller.UID), "volumes/kubernetes.io~empty-dir/socket/csi.sock")
}

func run(ctx context.Context, node *lab.Node, input string, argv ...string) ([]byte, error) {
	result, err := node.Run(ctx, control.ExecRequest{Argv: argv, Stdin: []byte(input)})
	if err == nil && result.ExitStatus != 0 {
		err = &lab.ExitError{Node: node.Name, Argv: argv, Result: result}
	}
	return result.Stdout, err
}
