package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/csi-dm/csi-dm/test/lab/control"
	"github.com/csi-dm/csi-dm/test/lab/image"
	"github.com/csi-dm/csi-dm/test/lab/node"
	"github.com/csi-dm/csi-dm/test/uml"
)

// guestNode is a node of the lab: disks, a tap device, and a guest when it has power.
type guestNode struct {
	index      int
	options    control.NodeOptions
	configFile string
	disks      []string
	console    string
	logs       string
	directory  string
	program    string
	agent      *agentClient

	// power is held while the node is being booted or cut.
	power sync.Mutex
	// mutex guards guest, which is nil until the first boot, and images, the archives that were loaded.
	mutex  sync.Mutex
	guest  *uml.Guest
	images map[string]bool
}

// newNode makes everything a node needs before it can be booted, but for its disks.
func newNode(ctx context.Context, config Config, plane *controlPlane, index int, options control.NodeOptions) (*guestNode, error) {
	n := &guestNode{
		index:     index,
		options:   options,
		console:   filepath.Join(config.Run, "logs", options.Name, "console.log"),
		logs:      filepath.Join(config.Run, "logs", options.Name),
		directory: filepath.Join(config.Run, "uml"),
		program:   config.Programs.Node,
		agent:     newAgentClient(address(index)),
		images:    make(map[string]bool),
	}
	if err := os.MkdirAll(n.logs, 0o755); err != nil {
		return nil, err
	}
	if err := n.writeConfig(config, plane); err != nil {
		return nil, err
	}
	return n, connect(ctx, index)
}

// writeConfig writes certificates and configuration for the node's side.
func (n *guestNode) writeConfig(config Config, plane *controlPlane) error {
	name := n.options.Name
	serving, err := plane.authority.server("kubelet-"+name, name, address(n.index))
	if err != nil {
		return err
	}
	client, err := plane.authority.client("node-"+name, "system:node:"+name, "system:nodes")
	if err != nil {
		return err
	}
	kubeconfig := filepath.Join(config.Run, "kubelet-"+name+".kubeconfig")
	if err := plane.authority.kubeconfig(kubeconfig, "https://"+gateway+":"+apiPort, client); err != nil {
		return err
	}
	content, err := json.MarshalIndent(node.Config{
		Name: name, Address: address(n.index), Gateway: gateway,
		PodNetwork: podNetwork(n.index), PodGateway: podGateway(n.index), ClusterNetwork: clusterNetwork,
		Kubernetes: config.Programs.Kubernetes, Containerd: config.Programs.Containerd, CNI: config.Programs.CNI,
		PauseImage: image.Pause,
		Authority:  plane.authority.file(), Certificate: serving.certificate, Key: serving.key,
		KubeletKubeconfig: kubeconfig, ProxyKubeconfig: plane.proxyKubeconfig,
	}, "", "  ")
	if err != nil {
		return err
	}
	n.configFile = filepath.Join(config.Run, "node-"+name+".json")
	return os.WriteFile(n.configFile, content, 0o600)
}

// start gives the node power. ctx is that of the lab: when it ends the guest does.
func (n *guestNode) start(ctx context.Context) (*uml.Guest, error) {
	if n.running() {
		return nil, fmt.Errorf("%s has power already", n.options.Name)
	}
	console, err := os.OpenFile(n.console, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	guest, err := uml.Machine{
		Name:      n.options.Name,
		Memory:    n.options.MemoryBytes,
		Disks:     n.disks,
		Networks:  []string{"transport=tap,ifname=" + tap(n.index) + ",mac=" + hardwareAddress(n.index)},
		Init:      n.program,
		Words:     []string{node.ConfigVariable + "=" + n.configFile},
		Directory: n.directory,
		Console:   console,
	}.Start(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", n.options.Name, err), console.Close())
	}
	go func() {
		// How a guest ended is in its console; who waits for it sees Done.
		_ = guest.Wait()
		_ = console.Close()
	}()
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.guest = guest
	return guest, nil
}

// cut takes the power away.
func (n *guestNode) cut() error {
	if !n.running() {
		return fmt.Errorf("%s has no power", n.options.Name)
	}
	return n.current().PowerCut()
}

// exec runs a command on the node. It fails at once when the node loses power meanwhile, where the connection would hang.
func (n *guestNode) exec(ctx context.Context, request control.ExecRequest) (control.ExecResult, error) {
	if !n.running() {
		return control.ExecResult{}, fmt.Errorf("%s has no power", n.options.Name)
	}
	ctx, cancel := whilePowered(ctx, n.options.Name, n.current())
	defer cancel()
	result, err := n.agent.exec(ctx, request)
	if err != nil && ctx.Err() != nil {
		return result, context.Cause(ctx)
	}
	return result, err
}

// whilePowered returns a context that ends when the guest does: a connection to it would hang for minutes.
func whilePowered(ctx context.Context, name string, guest *uml.Guest) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-guest.Done():
			cancel(fmt.Errorf("%s lost power", name))
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

func (n *guestNode) current() *uml.Guest {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return n.guest
}

// running tells whether the node has power.
func (n *guestNode) running() bool {
	guest := n.current()
	if guest == nil {
		return false
	}
	select {
	case <-guest.Done():
		return false
	default:
		return true
	}
}

func (n *guestNode) status() control.Node {
	return control.Node{
		Name: n.options.Name, Address: address(n.index), Running: n.running(),
		MemoryBytes: n.options.MemoryBytes, PoolDiskBytes: n.options.PoolDiskBytes, Console: n.console, Logs: n.logs,
	}
}
