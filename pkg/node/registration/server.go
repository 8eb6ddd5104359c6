package registration

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"k8s.io/klog/v2"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/csi-dm/csi-dm/pkg/grpcserver"
)

// csiVersion is the version of the CSI specification that kubelet is told: the first of the major version, which is how
// kubelet compares it.
const csiVersion = "1.0.0"

// Variables for the tests' sake.
var (
	// presenceInterval is how often it is checked that kubelet can still find the socket.
	presenceInterval = 10 * time.Second
	// After a refusal the socket is made anew after these times, doubling.
	firstRetry, lastRetry = time.Second, 30 * time.Second
)

// Config is what kubelet is told, and where.
type Config struct {
	DriverName string
	// Endpoint is the CSI service's socket, as a path that kubelet can open.
	Endpoint string
	// Registry is kubelet's directory plugins_registry.
	Registry string
	Metrics  *grpcserver.Metrics
}

// Server registers the driver for as long as it serves.
type Server struct {
	registerapi.UnimplementedRegistrationServer

	config     Config
	registered atomic.Bool
	refused    chan string
}

// New makes a server.
func New(config Config) *Server {
	return &Server{config: config, refused: make(chan string, 1)}
}

// Socket is the path of the socket that kubelet finds.
func (s *Server) Socket() string {
	return filepath.Join(s.config.Registry, s.config.DriverName+"-reg.sock")
}

// Registered tells whether kubelet has said that it took the driver.
func (s *Server) Registered() bool { return s.registered.Load() }

// Serve makes the socket appear and answers kubelet until ctx ends; then it removes the socket and returns nil. The CSI
// service must answer by the time of the call.
//
// Where kubelet refuses the driver (as it does while the API server is away), the socket is made anew after a while, which
// makes every kubelet try again. The process goes on: the volumes that are in use need no registration. A socket that
// somebody removed is made anew, too.
func (s *Server) Serve(ctx context.Context) error {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		again, err := s.serveOnce(ctx, retry)
		if err != nil || !again || ctx.Err() != nil {
			return err
		}
		if s.registered.Load() {
			retry = firstRetry
		}
		klog.FromContext(ctx).Info("Making the registration socket anew", "socket", s.Socket())
	}
}

// serveOnce serves one socket until ctx ends, or until another one should take its place.
func (s *Server) serveOnce(ctx context.Context, retry time.Duration) (again bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server, err := grpcserver.Listen(ctx, grpcserver.Options{
		Name: "registration", Endpoint: s.Socket(), Metrics: s.config.Metrics,
		Register: func(registrar grpc.ServiceRegistrar) { registerapi.RegisterRegistrationServer(registrar, s) },
	})
	if err != nil {
		return false, err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx) }()

	ticker := time.NewTicker(presenceInterval)
	defer ticker.Stop()
	var patience <-chan time.Time
	for {
		select {
		case err := <-ended:
			return false, err
		case why := <-s.refused:
			klog.FromContext(ctx).Error(nil, "Kubelet refused the driver", "driver", s.config.DriverName,
				"endpoint", s.config.Endpoint, "why", why, "retry", retry)
			patience = time.After(retry)
		case <-patience:
			patience = nil
			if !s.registered.Load() { // a recent kubelet tries again by itself
				cancel()
				return true, <-ended
			}
		case <-ticker.C:
			if !server.Present() {
				cancel()
				return true, <-ended
			}
		}
	}
}

// GetInfo tells kubelet what the socket stands for.
func (s *Server) GetInfo(context.Context, *registerapi.InfoRequest) (*registerapi.PluginInfo, error) {
	return &registerapi.PluginInfo{
		Type: registerapi.CSIPlugin, Name: s.config.DriverName, Endpoint: s.config.Endpoint, SupportedVersions: []string{csiVersion},
	}, nil
}

// NotifyRegistrationStatus hears from kubelet what became of the registration.
func (s *Server) NotifyRegistrationStatus(ctx context.Context, status *registerapi.RegistrationStatus) (*registerapi.RegistrationStatusResponse, error) {
	s.registered.Store(status.GetPluginRegistered())
	if status.GetPluginRegistered() {
		klog.FromContext(ctx).Info("Registered with kubelet", "driver", s.config.DriverName, "endpoint", s.config.Endpoint)
		return &registerapi.RegistrationStatusResponse{}, nil
	}
	select {
	case s.refused <- status.GetError():
	default: // one is being dealt with
	}
	return &registerapi.RegistrationStatusResponse{}, nil
}
