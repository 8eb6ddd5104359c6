package cluster

import (
	"encoding/json"
	"os"

	"github.com/csi-dm/csi-dm/test/lab/control"
)

// Config is what the supervisor is started with. All paths are absolute.
type Config struct {
	// Run is the run directory, Disks the folder for the nodes' disks.
	Run   string `json:"run"`
	Disks string `json:"disks"`
	// Templates is a folder, outliving the lab, for system disks with images on them.
	Templates string `json:"templates"`
	// Programs are the built programs.
	Programs Programs `json:"programs"`
	// Images are docker-archives to load into every node before its kubelet starts.
	Images []string `json:"images"`
	// Nodes are the nodes to begin with.
	Nodes []control.NodeOptions `json:"nodes"`
}

// Programs are paths of programs, and of two folders of programs.
type Programs struct {
	Kubernetes string `json:"kubernetes"`
	Helm       string `json:"helm"`
	Sanity     string `json:"sanity"`
	// Containerd is the folder of containerd, its shim and ctr; CNI that of the network plugins.
	Containerd string `json:"containerd"`
	CNI        string `json:"cni"`
	// Lab and Node are the lab's own programs for the host's and for a node's side.
	Lab  string `json:"lab"`
	Node string `json:"node"`
}

// ReadConfig reads a file that WriteConfig wrote.
func ReadConfig(path string) (Config, error) {
	var config Config
	content, err := os.ReadFile(path)
	if err != nil {
		return config, err
	}
	return config, json.Unmarshal(content, &config)
}

// WriteConfig writes the configuration for the supervisor.
func WriteConfig(path string, config Config) error {
	content, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}
