package grpcserver

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
)

// node answers NodeStageVolume as a test tells it.
type node struct {
	csi.UnimplementedNodeServer
	stage func(ctx context.Context) error
}

func (n node) NodeStageVolume(ctx context.Context, _ *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	return &csi.NodeStageVolumeResponse{}, n.stage(ctx)
}

// logBuffer is written by the server's goroutines.
type logBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *logBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(text)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func serve(t *testing.T, path string, metrics *Metrics, stage func(context.Context) error) (csi.NodeClient, *logBuffer, func() error) {
	t.Helper()
	log := &logBuffer{}
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(log), textlogger.Verbosity(5)))
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), logger))
	server, err := Listen(ctx, Options{
		Name: "test", Endpoint: "unix://" + path, Metrics: metrics,
		Register: func(registrar grpc.ServiceRegistrar) { csi.RegisterNodeServer(registrar, node{stage: stage}) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx) }()
	stop := sync.OnceValue(func() error { cancel(); return <-ended })
	connection, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = connection.Close()
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return csi.NewNodeClient(connection), log, stop
}

func TestSecretsStayOutOfTheLog(t *testing.T) {
	client, log, _ := serve(t, filepath.Join(t.TempDir(), "s"), nil, func(context.Context) error { return nil })
	request := &csi.NodeStageVolumeRequest{VolumeId: "pvc-1", Secrets: map[string]string{"key": "hunter2"}}
	if _, err := client.NodeStageVolume(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, `volume="pvc-1"`) || strings.Contains(text, "hunter2") {
		t.Errorf("log should have the volume and not the secret:\n%s", text)
	}
}

func TestHandlerLogsWithItsCall(t *testing.T) {
	client, log, _ := serve(t, filepath.Join(t.TempDir(), "s"), nil, func(ctx context.Context) error {
		klog.FromContext(ctx).Info("Inside")
		return nil
	})
	if _, err := client.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{VolumeId: strings.Repeat("v", 10_000)}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "Inside") {
			if !strings.Contains(line, `method="NodeStageVolume"`) || len(line) > 1000 {
				t.Errorf("bad line: %s", line)
			}
			return
		}
	}
	t.Errorf("the handler's line is missing:\n%s", log)
}

func TestPanicFailsOneCall(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	panics := true
	client, log, _ := serve(t, filepath.Join(t.TempDir(), "s"), metrics, func(context.Context) error {
		if panics {
			panic("bug")
		}
		return nil
	})
	if _, err := client.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{}); status.Code(err) != codes.Internal {
		t.Errorf("code is %v, want Internal", err)
	}
	panics = false
	if _, err := client.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{}); err != nil {
		t.Errorf("the next call failed: %v", err)
	}
	if !strings.Contains(log.String(), "server_test.go") {
		t.Errorf("the log has no stack:\n%s", log)
	}
	if got := testutil.ToFloat64(metrics.panics.WithLabelValues("test", "NodeStageVolume")); got != 1 {
		t.Errorf("%v panics counted, want 1", got)
	}
	if got := testutil.CollectAndCount(metrics.duration); got != 2 {
		t.Errorf("%d series of durations, want one for Internal and one for OK", got)
	}
}

func TestStopWaitsForCallsInFlight(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	entered, leave := make(chan struct{}), make(chan struct{})
	client, _, stop := serve(t, path, nil, func(context.Context) error {
		close(entered)
		<-leave
		return nil
	})
	result := make(chan error, 1)
	go func() {
		_, err := client.NodeStageVolume(context.Background(), &csi.NodeStageVolumeRequest{})
		result <- err
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	// The socket goes first, so that nobody new arrives.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Lstat(path); os.IsNotExist(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the socket is still there")
		}
	}
	select {
	case <-stopped:
		t.Fatal("stopped before the call in flight was done")
	default:
	}
	close(leave)
	if err := <-result; err != nil {
		t.Errorf("the call in flight failed: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestListen(t *testing.T) {
	ok := func(context.Context) error { return nil }

	t.Run("replaces a socket left behind", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		left, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		left.(*net.UnixListener).SetUnlinkOnClose(false)
		if err := left.Close(); err != nil {
			t.Fatal(err)
		}
		client, _, _ := serve(t, path, nil, ok)
		if _, err := client.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{}); err != nil {
			t.Error(err)
		}
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mode is %v, want 0600", info.Mode().Perm())
		}
		if names, _ := os.ReadDir(filepath.Dir(path)); len(names) != 1 {
			t.Errorf("more than the socket is left in its directory: %v", names)
		}
	})

	t.Run("leaves a regular file alone", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(t.Context(), Options{Name: "test", Endpoint: path}); err == nil {
			t.Error("a regular file was replaced")
		}
		if content, _ := os.ReadFile(path); string(content) != "precious" {
			t.Errorf("the file is now %q", content)
		}
	})

	t.Run("leaves its successor's socket alone", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		_, _, stopFirst := serve(t, path, nil, ok)
		client, _, _ := serve(t, path, nil, ok)
		if err := stopFirst(); err != nil {
			t.Fatal(err)
		}
		if _, err := client.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{}); err != nil {
			t.Errorf("the second server cannot be reached: %v", err)
		}
	})
}

func TestParseEndpoint(t *testing.T) {
	for endpoint, want := range map[string]string{
		"unix:///csi/csi.sock":                "/csi/csi.sock",
		"/csi/csi.sock":                       "/csi/csi.sock",
		"":                                    "",
		"unix://csi.sock":                     "",
		"tcp://127.0.0.1:1":                   "",
		"unix:///":                            "",
		"unix:///a/../b":                      "",
		"unix:///a//b":                        "",
		"unix:///" + strings.Repeat("x", 105): "/" + strings.Repeat("x", 105),
		"unix:///" + strings.Repeat("x", 106): "",
	} {
		got, err := ParseEndpoint(endpoint)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ParseEndpoint(%q) = %q, %v; want %q", endpoint, got, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "endpoint") {
			t.Errorf("the error does not name the field: %v", err)
		}
	}
}
