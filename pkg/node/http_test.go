package node

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/csi-dm/csi-dm/pkg/grpcserver"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

type identity struct {
	csi.UnimplementedIdentityServer
}

func (identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}

func TestHealth(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "csi.sock")
	var registered atomic.Bool
	set := pools.NewSet(func(context.Context, thinpool.Config) (pools.Pool, error) { return nil, thinpool.ErrDeviceNotFound })
	set.Expect("fast", nil)
	registry := prometheus.NewRegistry()
	registry.MustRegister(newPoolCollector(set, func(string) (int, bool) { return 2, true }))
	handler, closeHandler, err := httpHandler(socket, registered.Load, registry)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = closeHandler() })
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	expect := func(path string, code int, word string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		if response.StatusCode != code || !strings.Contains(string(body), word) {
			t.Errorf("%s: %d %s, want %d and %q", path, response.StatusCode, body, code, word)
		}
	}
	expect("/healthz", http.StatusServiceUnavailable, "CSI socket")
	expect("/readyz", http.StatusServiceUnavailable, "CSI socket")
	expect("/metrics", http.StatusOK, `csi_dm_pool_open{pool="fast"} 0`)

	ctx, cancel := context.WithCancel(context.Background())
	csiServer, err := grpcserver.Listen(ctx, grpcserver.Options{Name: "csi", Endpoint: socket, Register: func(registrar grpc.ServiceRegistrar) {
		csi.RegisterIdentityServer(registrar, identity{})
	}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- csiServer.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil))
		if recorder.Code == http.StatusOK {
			break // the connection that failed is tried again after a while
		}
	}
	expect("/healthz", http.StatusOK, "ok")
	expect("/readyz", http.StatusServiceUnavailable, "kubelet")
	registered.Store(true)
	expect("/readyz", http.StatusOK, "ok")
}
