package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/unixsocket"
)

// Server answers an admin's questions.
type Server struct {
	socket *unixsocket.Listener
	http   *http.Server
}

// endLimit is how long requests may take to end: a program that is ended has some seconds, and the pool is opened again.
const endLimit = 2 * time.Minute

// Listen makes the socket. changed is told of a pool that an admin has repaired or grown. The caller must call Serve, which also
// cleans up.
func Listen(ctx context.Context, socket string, set *pools.Set, engine Engine, changed func(pool string)) (*Server, error) {
	listener, err := unixsocket.Listen(ctx, socket)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	// The requests' contexts end with ctx.
	base := func(net.Listener) context.Context { return ctx }
	server := &Server{socket: listener, http: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, BaseContext: base}}
	handleMaintenance(mux, set, engine, changed)
	mux.HandleFunc("GET "+poolsPath, func(w http.ResponseWriter, r *http.Request) {
		answer(r.Context(), w, Pools(r.Context(), set))
	})
	mux.HandleFunc("GET "+volumesPath, func(w http.ResponseWriter, r *http.Request) {
		answer(r.Context(), w, Volumes(set))
	})
	mux.HandleFunc("GET "+usagePath, func(w http.ResponseWriter, r *http.Request) {
		answer(r.Context(), w, Usages(r.Context(), set))
	})
	return server, nil
}

func answer(ctx context.Context, w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		klog.FromContext(ctx).V(4).Info("Admin's client went away", "err", err)
	}
}

// Serve answers until ctx ends, then removes the socket and returns nil.
func (s *Server) Serve(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(s.socket) }()
	select {
	case err := <-ended:
		return errors.Join(err, s.socket.Withdraw())
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	err := errors.Join(s.socket.Withdraw(), s.http.Shutdown(ending))
	if ended := <-ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
