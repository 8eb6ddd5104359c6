package node

import "fmt"

const (
	kubeletConfig = "/etc/kubernetes/kubelet.yaml"
	proxyConfig   = "/etc/kubernetes/kube-proxy.yaml"
)

// writeKubernetes writes the configuration of kubelet and kube-proxy. Feature gates are Kubernetes' defaults, but for
// CSIVolumeHealth: kubelet asks for the health of volumes and of the node's storage as often as for their usage.
//
// The lease is short so that a power cut is noticed within the grace period that the controller manager is given (16 s).
// kube-proxy uses iptables: Debian's User Mode Linux has nf_tables without the families ip and inet.
// Node allocatable is not enforced: that wants a cpuset controller, which User Mode Linux lacks, and complains in events.
// Images are never collected: there is no registry to get them back from. There is no DNS in the lab; its address is
// there to keep kubelet from complaining in the events of every pod.
func writeKubernetes(config Config) error {
	return writeFiles(map[string]string{
		kubeletConfig: fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[1]s}
authorization: {mode: Webhook}
tlsCertFile: %[2]s
tlsPrivateKeyFile: %[3]s
containerRuntimeEndpoint: unix://%[4]s
cgroupDriver: cgroupfs
enforceNodeAllocatable: [none]
failSwapOn: false
makeIPTablesUtilChains: false
clusterDomain: cluster.local
clusterDNS: [10.96.0.10]
evictionHard: {memory.available: 32Mi, nodefs.available: 1%%, nodefs.inodesFree: 1%%, imagefs.available: 1%%}
imageGCHighThresholdPercent: 100
nodeLeaseDurationSeconds: 12
volumeStatsAggPeriod: 10s
featureGates: {CSIVolumeHealth: true}
volumePluginDir: /var/lib/kubelet/volumeplugins
`, HostPath(config.Authority), HostPath(config.Certificate), HostPath(config.Key), containerdSocket),

		proxyConfig: fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: %s}
mode: iptables
clusterCIDR: %s
hostnameOverride: %s
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, HostPath(config.ProxyKubeconfig), config.ClusterNetwork, config.Name),
	})
}

// kubeletArguments are those that have no place in its configuration.
func kubeletArguments(config Config) []string {
	return []string{
		"kubelet", "--config=" + kubeletConfig, "--kubeconfig=" + HostPath(config.KubeletKubeconfig),
		"--hostname-override=" + config.Name, "--node-ip=" + config.Address,
	}
}
