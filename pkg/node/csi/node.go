package csi

import (
	"context"
	"fmt"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"

	"github.com/csi-dm/csi-dm/pkg/confinedpath"
	"github.com/csi-dm/csi-dm/pkg/node/monitor"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
)

// checkLimit bounds a file system check. It may outlast the call that began it: kubelet gives up after two minutes, and a
// large volume would never get through.
const checkLimit = time.Hour

// Config is what the service works with.
type Config struct {
	// NodeName is the Kubernetes node's name; it is the node id as well.
	NodeName string
	// MaximumVolumes is how many volumes the scheduler may put on the node; 0 is no limit.
	MaximumVolumes int64
	// XFSNoSpaceRetries is what filesystem.SetXFSNoSpaceRetries is called with.
	XFSNoSpaceRetries int
	Pools             *pools.Set
	// Kubelet is kubelet's directory, below which all paths must be.
	Kubelet *confinedpath.Root
	// InlineSizeLimit is the largest size of an inline ephemeral volume, in bytes. 0: none is published; those that are there can
	// be unpublished, and are reclaimed.
	InlineSizeLimit int64
	// InlineChanged is called, if it is set, when a pool holds other inline volumes than before. It must not block.
	InlineChanged func(pool string)
	// Monitor is what the health calls are answered with; nil: one of these pools.
	Monitor *monitor.Monitor
	// Released is called, if it is set, after a volume was unstaged. It must not block.
	Released func(volume string)
}

// Node is the Identity and the Node service. Its methods may be called concurrently.
type Node struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedNodeServer

	config   Config
	lifetime context.Context
	inFlight inFlight
	missing  missingMounts
}

// New makes the service. What outlasts a call ends with ctx.
func New(ctx context.Context, config Config) (*Node, error) {
	if config.NodeName == "" || config.Pools == nil || config.Kubelet == nil {
		return nil, fmt.Errorf("the CSI node service needs a node name, pools and kubelet's directory")
	}
	if config.MaximumVolumes < 0 {
		return nil, fmt.Errorf("maximum volumes %d is not allowed: 0 (no limit) or more", config.MaximumVolumes)
	}
	if config.InlineSizeLimit < 0 {
		return nil, fmt.Errorf("size limit %d of inline volumes is not allowed: 0 (no inline volumes) or more", config.InlineSizeLimit)
	}
	if config.Monitor == nil {
		config.Monitor = monitor.New(config.Pools, config.Kubelet.Directory())
	}
	return &Node{config: config, lifetime: ctx}, nil
}

// Register adds both services to a server.
func (n *Node) Register(registrar grpc.ServiceRegistrar) {
	csi.RegisterIdentityServer(registrar, n)
	csi.RegisterNodeServer(registrar, n)
}
