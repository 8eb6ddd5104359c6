package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	csispec "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	controllerconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/capacity"
	"github.com/csi-dm/csi-dm/pkg/controller/csi"
	"github.com/csi-dm/csi-dm/pkg/controller/lifecycle"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
	"github.com/csi-dm/csi-dm/pkg/grpcserver"
	"github.com/csi-dm/csi-dm/pkg/version"
)

// leaseName is the Lease that the replicas elect their leader by.
const leaseName = "csi-dm-controller"

// Controller is a controller that is ready to run.
type Controller struct {
	manager  manager.Manager
	endpoint string
	identity csi.Identity
	service  *csi.Service
	metrics  *grpcserver.Metrics
	ready    readiness
}

// Scheme knows all kinds that the controller reads or writes.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
}

// New makes a controller for the cluster of config. Options must be valid. The metrics of calls go to registerer.
func New(ctx context.Context, config *rest.Config, options Options, registerer prometheus.Registerer) (*Controller, error) {
	var pools []lifecycle.NamedPool
	if options.PoolsFile != "" {
		var err error
		if pools, err = lifecycle.ReadPools(options.PoolsFile); err != nil {
			return nil, err
		}
	}
	c := &Controller{endpoint: options.Endpoint}
	mgr, err := newManager(ctx, config, options, &c.ready)
	if err != nil {
		return nil, err
	}
	c.manager = mgr
	if err := errors.Join(view.AddIndexes(ctx, mgr.GetFieldIndexer()), capacity.AddIndexes(ctx, mgr.GetFieldIndexer())); err != nil {
		return nil, fmt.Errorf("index caches: %w", err)
	}
	v := view.New(mgr.GetClient())
	publisher := &capacity.Publisher{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), View: v, Namespace: options.Namespace}
	c.service, err = csi.New(ctx, csi.Options{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), View: v, Informers: mgr.GetCache(),
		Capacity: publisher, Patience: options.CreateTimeout, Recorder: mgr.GetEventRecorder("csi-dm-controller"),
	})
	if err != nil {
		return nil, err
	}
	if c.metrics, err = grpcserver.NewMetrics(registerer); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return c, errors.Join(
		capacity.AddTracker(mgr, publisher),
		lifecycle.AddTo(mgr, v, lifecycle.Options{Grace: options.NodeGonePeriod, Pools: pools}),
		mgr.Add(everywhere{c.serve}),
	)
}

func newManager(ctx context.Context, config *rest.Config, options Options, ready *readiness) (manager.Manager, error) {
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	agents, err := labels.Parse(options.AgentSelector)
	if err != nil {
		return nil, fmt.Errorf("--agent-selector: %w", err)
	}
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = options.APIQPS, options.APIBurst
	config.UserAgent = "csi-dm-controller/" + version.String()
	bind := options.HTTPEndpoint
	if bind == "" {
		bind = "0"
	}
	mgr, err := ctrl.NewManager(config, manager.Options{
		Scheme:      scheme,
		Logger:      klog.FromContext(ctx),
		BaseContext: func() context.Context { return ctx },
		Cache:       view.CacheOptions(options.Namespace, agents),
		// Names are unique by construction; tests run several controllers in one process.
		Controller:              controllerconfig.Controller{SkipNameValidation: ptr.To(true)},
		LeaderElection:          options.LeaderElection,
		LeaderElectionID:        leaseName,
		LeaderElectionNamespace: options.Namespace,
		// A leader that ends hands over at once, after its reconcilers have ended.
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       ptr.To(20 * time.Second),
		Metrics: metricsserver.Options{
			BindAddress: bind,
			ExtraHandlers: map[string]http.Handler{
				"/healthz": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }),
				"/readyz":  ready,
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make manager: %w", err)
	}
	return mgr, nil
}

// Run runs the controller until ctx ends, or until it has lost the leadership, which is an error: the process must end.
func (c *Controller) Run(ctx context.Context) error { return c.manager.Start(ctx) }

// serve serves CSI. The manager starts it once the caches are synchronized.
func (c *Controller) serve(ctx context.Context) error {
	server, err := grpcserver.Listen(ctx, grpcserver.Options{
		Name:     "csi",
		Endpoint: c.endpoint,
		Register: func(registrar grpc.ServiceRegistrar) {
			csispec.RegisterIdentityServer(registrar, c.identity)
			csispec.RegisterControllerServer(registrar, c.service)
			csispec.RegisterGroupControllerServer(registrar, c.service)
		},
		Metrics: c.metrics,
	})
	if err != nil {
		return err
	}
	c.ready.set(true)
	defer c.ready.set(false)
	return server.Serve(ctx)
}

// everywhere is a runnable of every replica, not of the leader only.
type everywhere struct{ run func(context.Context) error }

func (e everywhere) Start(ctx context.Context) error { return e.run(ctx) }

func (everywhere) NeedLeaderElection() bool { return false }
