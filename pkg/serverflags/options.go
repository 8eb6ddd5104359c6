package serverflags

import (
	"fmt"
	"net"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/csi-dm/csi-dm/pkg/grpcserver"
)

// Options of every long-running command.
type Options struct {
	// Endpoint is the CSI service's socket: unix:// and an absolute path. Of a node, kubelet must see it at the same path.
	Endpoint string
	// HTTPEndpoint is the TCP address for health and metrics; empty for none.
	HTTPEndpoint string
	// Kubeconfig is empty inside a cluster.
	Kubeconfig string
	// APIQPS and APIBurst bound the requests to the API server per second.
	APIQPS   float32
	APIBurst int
}

// AddFlags binds the options to flags; their defaults are what o holds.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Endpoint, "endpoint", o.Endpoint, "where the CSI service is served: unix:// and an absolute path, which kubelet must see at the same place")
	flags.StringVar(&o.HTTPEndpoint, "http-endpoint", o.HTTPEndpoint, "TCP address for /healthz, /readyz and /metrics; empty for none")
	flags.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "how to reach the API server; empty inside a cluster")
	flags.Float32Var(&o.APIQPS, "kube-api-qps", o.APIQPS, "requests to the API server per second")
	flags.IntVar(&o.APIBurst, "kube-api-burst", o.APIBurst, "requests to the API server in a burst")
}

// Check adds to refusals what cannot work.
func (o *Options) Check(refusals *Refusals) {
	if _, err := grpcserver.ParseEndpoint(o.Endpoint); err != nil {
		refusals.AddError("endpoint", err)
	}
	if o.HTTPEndpoint != "" {
		if _, _, err := net.SplitHostPort(o.HTTPEndpoint); err != nil {
			refusals.Add("http-endpoint", o.HTTPEndpoint, "must be HOST:PORT or :PORT, or empty")
		}
	}
	if !(o.APIQPS > 0) { // nor is what is no number
		refusals.Add("kube-api-qps", o.APIQPS, "must be greater than 0")
	}
	if o.APIBurst < 1 {
		refusals.Add("kube-api-burst", o.APIBurst, "must be greater than 0")
	}
}

// APIConfig says how to reach the API server.
func (o *Options) APIConfig() (*rest.Config, error) {
	config, err := rest.InClusterConfig()
	if o.Kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig %q: %w", o.Kubeconfig, err)
	}
	config.QPS, config.Burst = o.APIQPS, o.APIBurst
	return config, nil
}
