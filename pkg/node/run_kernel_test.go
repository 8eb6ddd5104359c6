//go:build kernel

package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/admin"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

const gib = int64(1 << 30)

// process is the node plugin, run as the command runs it, on a machine whose API server does not answer.
type process struct {
	t       *testing.T
	options Options
	stop    context.CancelFunc
	ended   chan error
}

func (p *process) start() {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p.stop, p.ended = cancel, make(chan error, 1)
	go func() { p.ended <- Run(ctx, p.options) }()
}

// end stops the process as SIGTERM does and waits for its end.
func (p *process) end() {
	p.t.Helper()
	p.stop()
	select {
	case err := <-p.ended:
		if err != nil {
			p.t.Errorf("Run: %v", err)
		}
	case <-time.After(30 * time.Second):
		p.t.Fatal("Run does not end")
	}
}

func (p *process) dial(path string) *grpc.ClientConn {
	p.t.Helper()
	connection, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = connection.Close() })
	return connection
}

// register does what kubelet does when it finds the socket, and gives the CSI service that it is led to.
func (p *process) register() csi.NodeClient {
	p.t.Helper()
	socket := filepath.Join(p.options.KubeletDirectory, "plugins_registry", "csi-dm.io-reg.sock")
	waitFor(p.t, "the registration socket", func() bool {
		select {
		case err := <-p.ended:
			p.t.Fatalf("Run ended: %v", err)
		default:
		}
		_, err := os.Lstat(socket)
		return err == nil
	})
	registration := registerapi.NewRegistrationClient(p.dial(socket))
	info, err := registration.GetInfo(p.t.Context(), &registerapi.InfoRequest{})
	if err != nil {
		p.t.Fatal(err)
	}
	node := csi.NewNodeClient(p.dial(info.GetEndpoint()))
	// Kubelet calls at once: the service must be there.
	if _, err := node.NodeGetInfo(p.t.Context(), &csi.NodeGetInfoRequest{}); err != nil {
		p.t.Errorf("the CSI service does not answer when the driver registers: %v", err)
	}
	if _, err := registration.NotifyRegistrationStatus(p.t.Context(), &registerapi.RegistrationStatus{PluginRegistered: true}); err != nil {
		p.t.Fatal(err)
	}
	return node
}

func (p *process) get(path string) (int, string) {
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.options.HTTPEndpoint+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestWithoutTheAPIServer: a node that starts while the API server is away opens its pools from what it remembers,
// registers, and takes a known volume to a pod; a restart in between disturbs nothing.
func TestWithoutTheAPIServer(t *testing.T) {
	kerneltest.CheckClean(t)
	disk := kerneltest.Disk(t, 2*gib)
	directory, err := os.MkdirTemp(kerneltest.Scratch(t), "node-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(directory); err != nil {
			t.Error(err)
		}
	})
	p := &process{t: t, options: DefaultOptions()}
	p.options.NodeID = "node-1"
	p.options.KubeletDirectory = filepath.Join(directory, "kubelet")
	p.options.Endpoint = "unix://" + filepath.Join(p.options.KubeletDirectory, "plugins/csi-dm.io/csi.sock")
	p.options.StateDirectory = filepath.Join(directory, "state")
	p.options.RunDirectory = filepath.Join(directory, "run")
	p.options.HTTPEndpoint = freeAddress(t)
	p.options.Kubeconfig = filepath.Join(directory, "kubeconfig")
	staging := filepath.Join(p.options.KubeletDirectory, "plugins/kubernetes.io/csi/csi-dm.io/x/globalmount")
	target := filepath.Join(p.options.KubeletDirectory, "pods/1/volumes/kubernetes.io~csi/pvc-1/mount")
	for _, made := range []string{staging, filepath.Dir(target), p.options.StateDirectory} {
		if err := os.MkdirAll(made, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, p.options.Kubeconfig, fmt.Sprintf(kubeconfig, freeAddress(t)))
	writeFile(t, filepath.Join(p.options.StateDirectory, "pools.json"), fmt.Sprintf(remembered, disk))
	makeVolume(t, disk)

	p.start()
	node := p.register()
	if code, body := p.get("/readyz"); code != http.StatusOK {
		t.Errorf("readyz: %d %s", code, body)
	}
	capability := &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: "ext4"}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := node.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{VolumeId: "pvc-1", StagingTargetPath: staging, VolumeCapability: capability}); err != nil {
		t.Fatal(err)
	}
	publish := &csi.NodePublishVolumeRequest{VolumeId: "pvc-1", StagingTargetPath: staging, TargetPath: target, VolumeCapability: capability}
	if _, err := node.NodePublishVolume(ctx, publish); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(target, "file"), "content")

	client := admin.NewClient(admin.Socket(p.options.RunDirectory))
	infos, err := client.Pools(ctx)
	if err != nil || len(infos) != 1 || infos[0].Name != "fast" || infos[0].Volumes != 1 || infos[0].Mode != "ReadWrite" || infos[0].Data.Total == 0 {
		t.Errorf("pool info: %+v, %v", infos, err)
	}
	volumes, err := client.Volumes(ctx)
	if err != nil || len(volumes) != 1 || volumes[0].Name != "pvc-1" || volumes[0].FSType != "ext4" {
		t.Errorf("volume list: %+v, %v", volumes, err)
	}
	if _, metrics := p.get("/metrics"); !strings.Contains(metrics, `csi_dm_pool_volumes{pool="fast"} 1`) || !strings.Contains(metrics, "csi_dm_grpc_server_handling_seconds_count") {
		t.Errorf("metrics lack the pool or the calls:\n%.2000s", metrics)
	}

	// A restart: the pod's files are there all the time, nothing of the agent is left in between.
	p.end()
	writeFile(t, filepath.Join(target, "meanwhile"), "content")
	for _, socket := range []string{admin.Socket(p.options.RunDirectory), strings.TrimPrefix(p.options.Endpoint, "unix://"), filepath.Join(p.options.KubeletDirectory, "plugins_registry", "csi-dm.io-reg.sock")} {
		if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", socket, err)
		}
	}
	if _, err := client.Pools(ctx); !errors.Is(err, admin.ErrNotRunning) {
		t.Errorf("pool info without an agent: %v", err)
	}
	p.start()
	node = p.register()
	if _, err := node.NodePublishVolume(ctx, publish); err != nil {
		t.Errorf("publish again after a restart: %v", err)
	}
	if _, err := node.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: "pvc-1", TargetPath: target}); err != nil {
		t.Error(err)
	}
	if _, err := node.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: "pvc-1", StagingTargetPath: staging}); err != nil {
		t.Error(err)
	}
	p.end()
	shutDown(t, disk)
}

func config(disk string) thinpool.Config {
	return thinpool.Config{
		Name: "fast", BlockSize: 64 << 10, MinFreePercent: 10, OverprovisionMilli: 1000, ErrorIfNoSpace: true, DiscardPassdown: true,
		Source: thinpool.Source{Devices: []string{disk}},
	}
}

func withPool(t *testing.T, disk string, use func(ctx context.Context, pool *thinpool.Pool) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dm, err := devicemapper.Open()
	if err != nil {
		t.Fatal(err)
	}
	pool, err := thinpool.Open(ctx, dm, config(disk))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(use(ctx, pool), dm.Close()); err != nil {
		t.Fatal(err)
	}
}

func makeVolume(t *testing.T, disk string) {
	withPool(t, disk, func(ctx context.Context, pool *thinpool.Pool) error {
		_, err := pool.CreateVolume(ctx, thinpool.VolumeSpec{Name: "pvc-1", Size: gib / 2, Format: filesystem.Format{Type: filesystem.Ext4}})
		return errors.Join(err, pool.Shutdown(ctx)) // as after a boot
	})
}

func shutDown(t *testing.T, disk string) {
	withPool(t, disk, func(ctx context.Context, pool *thinpool.Pool) error { return pool.Shutdown(ctx) })
}

// freeAddress is an address on loopback where nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://%s"}}]
contexts: [{name: c, context: {cluster: c, user: c}}]
users: [{name: c, user: {}}]
current-context: c
`

const remembered = `{"version": 1, "pools": {"fast": {
	"source": {"devices": [%q]}, "blockSize": "64Ki", "minFreeSpace": "10%%", "overprovision": "1", "whenFull": "Error", "discardOnDelete": true
}}}`
