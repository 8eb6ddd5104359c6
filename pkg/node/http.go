package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/klog/v2"
)

// probeLimit bounds a health probe: less than what the chart gives kubelet's probes, so that the answer says what is wrong.
// It is no shorter, because a node that is short of CPU for a moment would lose its capacity.
const probeLimit = 4 * time.Second

// httpHandler answers probes and Prometheus. Alive is a process whose CSI socket answers; ready is one that kubelet has
// taken besides.
func httpHandler(csiSocket string, registered func() bool, metrics prometheus.Gatherer) (http.Handler, func() error, error) {
	connection, err := grpc.NewClient("unix://"+csiSocket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// A probe must not speak of a failure that is longer ago than the probe before it.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.5, MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: probeLimit,
		}))
	if err != nil {
		return nil, nil, err
	}
	identity := csi.NewIdentityClient(connection)
	probe := func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), probeLimit)
		defer cancel()
		response, err := identity.Probe(ctx, &csi.ProbeRequest{})
		if err != nil {
			return fmt.Errorf("CSI socket: %w", err)
		}
		if ready := response.GetReady(); ready != nil && !ready.GetValue() {
			return errors.New("CSI service is not ready")
		}
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { tell(w, probe(r)) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		err := probe(r)
		if err == nil && !registered() {
			err = errors.New("kubelet has not registered the driver yet")
		}
		tell(w, err)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux, connection.Close, nil
}

func tell(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// serveHTTP serves on an address until ctx ends.
func serveHTTP(ctx context.Context, address string, handler http.Handler) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("--http-endpoint: %w", err)
	}
	klog.FromContext(ctx).Info("Serving health and metrics", "address", listener.Addr().String())
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	err = server.Close()
	if end := <-ended; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
