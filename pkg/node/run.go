package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/confinedpath"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/grpcserver"
	"github.com/csi-dm/csi-dm/pkg/node/admin"
	"github.com/csi-dm/csi-dm/pkg/node/agent"
	"github.com/csi-dm/csi-dm/pkg/node/csi"
	"github.com/csi-dm/csi-dm/pkg/node/monitor"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/node/registration"
	"github.com/csi-dm/csi-dm/pkg/node/trim"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/version"
)

// openLimit is how long the start waits for pools that the node had. After it kubelet may ask for volumes of pools that
// are still being opened; it is told so, and asks again.
const openLimit = 20 * time.Second

// Run serves the node until ctx ends, or until something fails that only a new process can put right.
func Run(ctx context.Context, options Options) (err error) {
	if err := options.Validate(); err != nil {
		return err
	}
	api, err := options.APIConfig()
	if err != nil {
		return err
	}
	api.UserAgent = "csi-dm-node/" + version.String()
	for _, directory := range []string{options.RunDirectory, options.StateDirectory} {
		if err := os.MkdirAll(directory, 0o700); err != nil {
			return err
		}
	}
	lock, err := lockNode(ctx, options.RunDirectory)
	if err != nil {
		return err
	}
	closing := []func() error{lock.Close}
	defer func() {
		for i := len(closing) - 1; i >= 0; i-- {
			err = errors.Join(err, closing[i]())
		}
	}()
	dm, err := devicemapper.Open()
	if err != nil {
		return err
	}
	closing = append(closing, dm.Close)
	kubelet, err := confinedpath.OpenRoot(options.KubeletDirectory)
	if err != nil {
		return fmt.Errorf("--kubelet-dir: %w", err)
	}
	closing = append(closing, kubelet.Close)
	registry := prometheus.NewRegistry()
	operations := newOperations(registry)
	set := pools.NewSet(func(ctx context.Context, config thinpool.Config) (pools.Pool, error) {
		pool, err := thinpool.Open(ctx, dm, config)
		if err != nil {
			return nil, err
		}
		return operations.measure(config.Name, pool), nil
	})
	closing = append(closing, set.Close)
	return serve(ctx, options, api, set, registry, kubelet, admin.KernelEngine{DM: dm})
}

// serve runs the jobs; all of them have ended when it returns.
func serve(parent context.Context, options Options, api *rest.Config, set *pools.Set, registry *prometheus.Registry, kubelet *confinedpath.Root,
	engine admin.Engine,
) error {
	group, ctx := errgroup.WithContext(parent)
	calls, err := grpcserver.NewMetrics(registry)
	if err != nil {
		return err
	}
	health := monitor.New(set, kubelet.Directory())
	nodeAgent, err := agent.New(ctx, agent.Config{
		NodeName: options.NodeID, API: api, Pools: set, Monitor: health,
		StateFile:         filepath.Join(options.StateDirectory, "pools.json"),
		LoopbackDirectory: options.LoopbackDirectory,
	})
	if err != nil {
		return err
	}
	registry.MustRegister(newPoolCollector(set, nodeAgent.OrphanedVolumes), newVolumeCollector(set), newHealthCollector(set, health))
	inlineLimit, err := options.ephemeralSizeLimit()
	if err != nil {
		return err
	}
	service, err := csi.New(ctx, csi.Config{
		NodeName: options.NodeID, MaximumVolumes: options.MaximumVolumes, XFSNoSpaceRetries: options.XFSNoSpaceRetries,
		Pools: set, Kubelet: kubelet, Monitor: health, Released: nodeAgent.VolumeReleased,
		InlineSizeLimit: inlineLimit, InlineChanged: nodeAgent.InlineVolumesChanged,
	})
	if err != nil {
		return err
	}
	trims, err := trim.NewMetrics(registry)
	if err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Starting", "version", version.String(), "node", options.NodeID)

	// From here on everything is in the group, so that what fails takes the rest with it and is waited for.
	group.Go(func() error {
		adminServer, err := admin.Listen(ctx, admin.Socket(options.RunDirectory), set, engine, nodeAgent.PoolChanged)
		if err != nil {
			return fmt.Errorf("admin's socket: %w", err)
		}
		return adminServer.Serve(ctx)
	})
	group.Go(func() error { return nodeAgent.Run(ctx) })
	if options.TrimInterval > 0 {
		trimmer := trim.New(trim.Config{
			Pools: set, Kubelet: kubelet, Interval: options.TrimInterval, Hold: service.Hold, Metrics: trims,
		})
		group.Go(func() error { trimmer.Run(ctx); return nil })
	}
	group.Go(func() error {
		opening, cancel := context.WithTimeout(ctx, openLimit)
		defer cancel()
		nodeAgent.OpenRemembered(opening, ctx)
		group.Go(func() error { service.ReclaimInline(ctx); return nil })
		return serveKubelet(ctx, options, service, calls, prometheus.Gatherers{registry, metrics.Registry})
	})
	err = group.Wait()
	nodeAgent.Wait()
	if parent.Err() != nil && errors.Is(err, parent.Err()) {
		return nil
	}
	return err
}

// serveKubelet serves CSI, then registers with kubelet, in this order.
func serveKubelet(parent context.Context, options Options, service *csi.Node, calls *grpcserver.Metrics, gatherer prometheus.Gatherer) error {
	group, ctx := errgroup.WithContext(parent)
	server, err := grpcserver.Listen(ctx, grpcserver.Options{
		Name: "csi", Endpoint: options.Endpoint, Metrics: calls,
		Register: func(registrar grpc.ServiceRegistrar) { service.Register(registrar) },
	})
	if err != nil {
		return err
	}
	group.Go(func() error { return server.Serve(ctx) })
	registrar := registration.New(registration.Config{
		DriverName: v1alpha1.DriverName, Endpoint: server.Path(),
		Registry: filepath.Join(options.KubeletDirectory, "plugins_registry"), Metrics: calls,
	})
	group.Go(func() error { return registrar.Serve(ctx) })
	if options.HTTPEndpoint != "" {
		group.Go(func() error {
			handler, closeHandler, err := httpHandler(server.Path(), registrar.Registered, gatherer)
			if err != nil {
				return err
			}
			return errors.Join(serveHTTP(ctx, options.HTTPEndpoint, handler), closeHandler())
		})
	}
	return group.Wait()
}
