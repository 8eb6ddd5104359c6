package csi

import (
	"context"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// CapacityPublisher publishes the capacity of a pool on a node, as the API server knows the pool now.
type CapacityPublisher interface {
	PublishPool(ctx context.Context, pool, node string) error
}

// Options are what a Service needs.
type Options struct {
	// Client reads from the caches, Live from the API server.
	Client client.Client
	Live   client.Reader
	View   *view.View
	// Informers fill the caches.
	Informers cache.Informers
	Capacity  CapacityPublisher
	// Recorder writes events; nil for none.
	Recorder events.EventRecorder
	// Patience is how long CreateVolume waits for a node that seems well before it takes its request back. A call that has
	// less time waits less.
	Patience time.Duration
}

// Service is the CSI Controller service. Its methods may be called concurrently, on several replicas.
type Service struct {
	csi.UnimplementedControllerServer
	csi.UnimplementedGroupControllerServer

	client   client.Client
	live     client.Reader
	view     *view.View
	capacity CapacityPublisher
	patience time.Duration
	recorder events.EventRecorder

	notifier *notifier
	assumed  *assumedVolumes
}

// New makes a service. The caches must be started and synchronized before it is served.
func New(ctx context.Context, options Options) (*Service, error) {
	s := &Service{
		client: options.Client, live: options.Live, view: options.View, capacity: options.Capacity, patience: options.Patience, recorder: options.Recorder,
		notifier: newNotifier(), assumed: newAssumedVolumes(),
	}
	return s, s.watch(ctx, options.Informers)
}

// ControllerGetCapabilities lists what the service can do.
func (s *Service) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	response := &csi.ControllerGetCapabilitiesResponse{}
	for _, capability := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_GET_CAPACITY,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
		csi.ControllerServiceCapability_RPC_GET_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csi.ControllerServiceCapability_RPC_GET_VOLUME,
		csi.ControllerServiceCapability_RPC_LIST_VOLUMES,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
		csi.ControllerServiceCapability_RPC_GET_VOLUME_HEALTH,
		csi.ControllerServiceCapability_RPC_LIST_VOLUME_HEALTH,
	} {
		response.Capabilities = append(response.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: capability}},
		})
	}
	return response, nil
}
