package grpcserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/unixsocket"
)

// graceful is how long calls in flight may take to finish once a server is told to stop. It fits into the 30 s that a pod
// has between SIGTERM and SIGKILL.
const graceful = 10 * time.Second

// Options say what a server serves, and where.
type Options struct {
	// Name of the service in logs and in the metric's label: "csi", "registration".
	Name string
	// Endpoint is where clients find it, as ParseEndpoint takes it. Missing directories are made.
	Endpoint string
	// Register adds the services.
	Register func(grpc.ServiceRegistrar)
	// Metrics counts the calls if it is set. Servers of different names can share one.
	Metrics *Metrics
}

// Metrics are the durations and panics of calls. Register it once, with the process's registry.
type Metrics struct {
	duration *prometheus.HistogramVec
	panics   *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "csi_dm_grpc_server_handling_seconds",
			Help: "Duration of gRPC calls that the driver answered, in seconds.",
			// A stage takes milliseconds, a file system check minutes.
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120},
		}, []string{"server", "method", "code"}),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "csi_dm_grpc_server_panics_total",
			Help: "Calls that failed because the driver panicked.",
		}, []string{"server", "method"}),
	}
	return m, errors.Join(registerer.Register(m.duration), registerer.Register(m.panics))
}

// Server is a gRPC server that listens on a unix socket.
type Server struct {
	name   string
	socket *unixsocket.Listener
	grpc   *grpc.Server
}

// Listen makes the socket and the server. The caller must call Serve, which also cleans up.
func Listen(ctx context.Context, options Options) (*Server, error) {
	path, err := ParseEndpoint(options.Endpoint)
	if err != nil {
		return nil, err
	}
	socket, err := unixsocket.Listen(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("%s server: %w", options.Name, err)
	}
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(interceptors(ctx, options)...),
		// A call that is cancelled may still hold a device: the process must not go on to close pools below it.
		grpc.WaitForHandlers(true),
	)
	options.Register(server)
	return &Server{name: options.Name, socket: socket, grpc: server}, nil
}

// Path is the socket's absolute path.
func (s *Server) Path() string { return s.socket.Path() }

// Present tells whether clients still find the server's socket at its path.
func (s *Server) Present() bool { return s.socket.Present() }

// Serve answers calls until ctx ends. Then it removes the socket, lets calls in flight finish for up to ten seconds,
// cancels what is left, and returns nil. It must be called once.
func (s *Server) Serve(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	logger.Info("Serving", "server", s.name, "socket", s.socket.Path())
	ended := make(chan error, 1)
	go func() { ended <- s.grpc.Serve(s.socket) }()

	select {
	case err := <-ended:
		return errors.Join(fmt.Errorf("%s server ended: %w", s.name, err), s.socket.Withdraw())
	case <-ctx.Done():
	}
	err := s.socket.Withdraw()
	s.stop(logger)
	// A server that was told to stop before it had begun says so.
	if end := <-ended; !errors.Is(end, grpc.ErrServerStopped) {
		err = errors.Join(err, end)
	}
	return err
}

func (s *Server) stop(logger klog.Logger) {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.grpc.GracefulStop()
	}()
	select {
	case <-stopped:
	case <-time.After(graceful):
		logger.Info("Cancelling calls that did not finish in time", "server", s.name, "limit", graceful)
		s.grpc.Stop()
		<-stopped
	}
}
