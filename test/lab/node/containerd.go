package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	containerdSocket = "/run/containerd/containerd.sock"
	containerdConfig = "/etc/containerd/config.toml"
	networkFolder    = "/etc/cni/net.d"
	// containerdPatience is how long containerd may take until it listens.
	containerdPatience = time.Minute
)

// writeContainerd writes the configuration of containerd and of the pods' network. Statistics are collected rarely: once a
// second, containerd's default, costs a quarter of a guest's processor with a dozen containers, and nobody reads them.
func writeContainerd(config Config) error {
	if err := writeRuntime(); err != nil {
		return err
	}
	return writeFiles(map[string]string{
		containerdConfig: fmt.Sprintf(`version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = %q

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  stats_collect_period = 600
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = %q

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  stats_collect_period = "5m"
  stats_retention_period = "10m"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = %q
      SystemdCgroup = false
  [plugins."io.containerd.cri.v1.runtime".cni]
    use_internal_loopback = true
    bin_dirs = [%q]
    conf_dir = %q
`, containerdSocket, config.PauseImage, runtimeProgram, HostPath(config.CNI), networkFolder),

		// Reservations are on a tmpfs: after a power cut no pod has an address.
		filepath.Join(networkFolder, "10-lab.conflist"): fmt.Sprintf(`{
  "cniVersion": "1.0.0",
  "name": "lab",
  "plugins": [{
    "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
    "ipam": {
      "type": "host-local", "dataDir": "/run/cni",
      "ranges": [[{"subnet": %q, "gateway": %q}]],
      "routes": [{"dst": "0.0.0.0/0"}]
    }
  }]
}
`, config.PodNetwork, config.PodGateway),
	})
}

// awaitContainerd waits until containerd listens.
func awaitContainerd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, containerdPatience)
	defer cancel()
	for {
		connection, err := (&net.Dialer{}).DialContext(ctx, "unix", containerdSocket)
		if err == nil {
			return connection.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("containerd does not listen after %s: %w", containerdPatience, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// writeFiles writes files and makes the folders above them.
func writeFiles(files map[string]string) error {
	for file, content := range files {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
