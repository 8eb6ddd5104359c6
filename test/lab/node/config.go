package node

import (
	"encoding/json"
	"fmt"
	"os"
)

// ConfigVariable is the environment variable, and so the word on the guest's command line, with the path of the Config.
const ConfigVariable = "CSI_DM_NODE"

// Ports of the lab's network.
const (
	// AgentPort is the agent's on each node.
	AgentPort = 10100
	// LogPort is the supervisor's, for logs.
	LogPort = 10101
)

// Config is what a node is started with. All paths are the host's; in the node they are below /.host.
type Config struct {
	Name string `json:"name"`
	// Address is the node's on the lab's bridge, Gateway the bridge's own. Both are in a network of 24 bits.
	Address string `json:"address"`
	Gateway string `json:"gateway"`
	// PodNetwork is the range of the node's pods, PodGateway the node's address in it, ClusterNetwork that of all nodes' pods.
	PodNetwork     string `json:"podNetwork"`
	PodGateway     string `json:"podGateway"`
	ClusterNetwork string `json:"clusterNetwork"`
	// Kubernetes is the multi-call binary, Containerd and CNI are folders of programs.
	Kubernetes string `json:"kubernetes"`
	Containerd string `json:"containerd"`
	CNI        string `json:"cni"`
	// PauseImage is the image of every pod's first container.
	PauseImage string `json:"pauseImage"`
	// Authority is the cluster's certificate authority, Certificate and Key are kubelet's for serving.
	Authority   string `json:"authority"`
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	// KubeletKubeconfig and ProxyKubeconfig are for talking to kube-apiserver.
	KubeletKubeconfig string `json:"kubeletKubeconfig"`
	ProxyKubeconfig   string `json:"proxyKubeconfig"`
}

// hostFolder is where the host's root is after the overlay has taken its place.
const hostFolder = "/.host"

// HostPath is where a path of the host is found in a node.
func HostPath(path string) string { return hostFolder + path }

func readConfig(path string) (Config, error) {
	var config Config
	content, err := os.ReadFile(path)
	if err != nil {
		return config, err
	}
	if err := json.Unmarshal(content, &config); err != nil {
		return config, fmt.Errorf("%s: %w", path, err)
	}
	return config, nil
}
