package registration

import (
	"context"
	"errors"
	"fmt"
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

// presenceInterval is how often it is checked that kubelet can still find the socket.
var presenceInterval = 10 * time.Second

// ErrRefused reports that kubelet did not take the driver.
var ErrRefused = errors.New("kubelet refused the driver")

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
	refused    chan error
}

// New makes a server.
func New(config Config) *Server {
	return &Server{config: config, refused: make(chan error, 1)}
}

// Socket is the path of the socket that kubelet finds.
func (s *Server) Socket() string {
	return filepath.Join(s.config.Registry, s.config.DriverName+"-reg.sock")
}

// Registered tells whether kubelet has said that it took the driver.
func (s *Server) Registered() bool { return s.registered.Load() }

// Serve makes the socket appear and answers kubelet until ctx ends; then it removes the socket and returns nil. It
// returns ErrRefused if kubelet does not take the driver: there is no other way to make kubelet try again than a new
// socket. A socket that somebody removed is made again. The CSI service must answer by the time of the call.
func (s *Server) Serve(ctx context.Context) error {
	for {
		vanished, err := s.serveOnce(ctx)
		if err != nil || !vanished || ctx.Err() != nil {
			return err
		}
		klog.FromContext(ctx).Info("Registration socket is gone, making it again", "socket", s.Socket())
	}
}

func (s *Server) serveOnce(ctx context.Context) (vanished bool, err error) {
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
	for {
		select {
		case err := <-ended:
			return false, err
		case refusal := <-s.refused:
			cancel()
			return false, errors.Join(refusal, <-ended)
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
	case s.refused <- fmt.Errorf("%w %s at %s: %s", ErrRefused, s.config.DriverName, s.config.Endpoint, status.GetError()):
	default: // said before
	}
	return &registerapi.RegistrationStatusResponse{}, nil
}
