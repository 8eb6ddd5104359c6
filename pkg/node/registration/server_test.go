package registration

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// serve runs a server in a directory of its own and gives what a kubelet would hold.
func serve(t *testing.T) (server *Server, kubelet registerapi.RegistrationClient, stop func() error) {
	t.Helper()
	server = New(Config{DriverName: "csi-dm.io", Endpoint: "/k/plugins/csi-dm.io/csi.sock", Registry: t.TempDir()})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx) }()
	stop = func() error {
		cancel()
		select {
		case err := <-ended:
			ended <- err
			return err
		case <-time.After(20 * time.Second):
			return errors.New("Serve does not end")
		}
	}
	t.Cleanup(func() { _ = stop() })
	waitFor(t, "the socket", func() bool { _, err := os.Lstat(server.Socket()); return err == nil })
	connection, err := grpc.NewClient("unix://"+server.Socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return server, registerapi.NewRegistrationClient(connection), stop
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestRegistration(t *testing.T) {
	server, kubelet, stop := serve(t)
	if name := filepath.Base(server.Socket()); name != "csi-dm.io-reg.sock" {
		t.Errorf("the socket's name is %s", name)
	}
	info, err := kubelet.GetInfo(t.Context(), &registerapi.InfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if info.GetType() != "CSIPlugin" || info.GetName() != "csi-dm.io" || info.GetEndpoint() != "/k/plugins/csi-dm.io/csi.sock" ||
		len(info.GetSupportedVersions()) != 1 || info.GetSupportedVersions()[0] != "1.0.0" {
		t.Errorf("kubelet is told %v", info)
	}
	if server.Registered() {
		t.Error("registered before kubelet said so")
	}
	if _, err := kubelet.NotifyRegistrationStatus(t.Context(), &registerapi.RegistrationStatus{PluginRegistered: true}); err != nil {
		t.Fatal(err)
	}
	if !server.Registered() {
		t.Error("not registered although kubelet said so")
	}
	if err := stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := os.Lstat(server.Socket()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// TestRefusalIsRetried: kubelet finds another socket after it has refused, until it takes the driver.
func TestRefusalIsRetried(t *testing.T) {
	first, last := firstRetry, lastRetry
	firstRetry, lastRetry = 10*time.Millisecond, 20*time.Millisecond
	t.Cleanup(func() { firstRetry, lastRetry = first, last })
	server, kubelet, stop := serve(t)
	for range 3 {
		before, err := os.Lstat(server.Socket())
		if err != nil {
			t.Fatal(err)
		}
		status := &registerapi.RegistrationStatus{Error: "the API server is away"}
		if _, err := kubelet.NotifyRegistrationStatus(t.Context(), status, grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
		if server.Registered() {
			t.Error("registered although it was refused")
		}
		waitFor(t, "another socket", func() bool {
			now, err := os.Lstat(server.Socket())
			return err == nil && !now.ModTime().Equal(before.ModTime())
		})
	}
	if _, err := kubelet.NotifyRegistrationStatus(t.Context(), &registerapi.RegistrationStatus{PluginRegistered: true}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	if !server.Registered() {
		t.Error("not registered although kubelet took it in the end")
	}
	if err := stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestSocketThatVanishesComesBack(t *testing.T) {
	previous := presenceInterval
	presenceInterval = 10 * time.Millisecond
	t.Cleanup(func() { presenceInterval = previous })
	server, _, stop := serve(t)
	if err := os.Remove(server.Socket()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the socket to come back", func() bool { _, err := os.Lstat(server.Socket()); return err == nil })
	connection, err := grpc.NewClient("unix://"+server.Socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := registerapi.NewRegistrationClient(connection).GetInfo(t.Context(), &registerapi.InfoRequest{}); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A process that is told to stop at once, before anything has begun, ends without an error.
func TestStopBeforeTheBeginning(t *testing.T) {
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		server := New(Config{DriverName: "csi-dm.io", Endpoint: "/k/csi.sock", Registry: t.TempDir()})
		if err := server.Serve(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
