package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// etcdStorage bounds etcd's tmpfs: 10,000 volumes with their objects fit several times.
	etcdStorage = "size=2G"
	// startPatience is how long the control plane may take until it answers.
	startPatience = 2 * time.Minute
	pollInterval  = 100 * time.Millisecond
)

// ControlPlaneQPS and ControlPlaneBurst are how many requests per second, and in a burst, kube-controller-manager and kube-scheduler
// may send to the API server each. Kubernetes' defaults would make a lab wait for them.
const (
	ControlPlaneQPS   = 500
	ControlPlaneBurst = 1000
)

// controlPlane is etcd and the three servers of Kubernetes, as processes in the lab's namespaces.
type controlPlane struct {
	authority  *authority
	client     kubernetes.Interface
	components []*component
	// proxyKubeconfig is kube-proxy's, the same on every node.
	proxyKubeconfig string
}

// prepareControlPlane makes certificates and kubeconfigs. loopbackPort is the port on the host's loopback that people reach
// kube-apiserver by.
func prepareControlPlane(config Config, loopbackPort int) (*controlPlane, error) {
	authority, err := newAuthority(filepath.Join(config.Run, "pki"))
	if err != nil {
		return nil, err
	}
	p := &controlPlane{authority: authority}
	if err := p.writeKubeconfigs(config.Run, loopbackPort); err != nil {
		return nil, err
	}
	return p, p.makeClient(filepath.Join(config.Run, "supervisor.kubeconfig"))
}

// start starts all components, which live as long as ctx, and returns once kube-apiserver answers.
func (p *controlPlane) start(ctx context.Context, config Config) error {
	arguments, err := p.arguments(config.Run)
	if err != nil {
		return err
	}
	logs := filepath.Join(config.Run, "logs")
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		component, err := startComponent(ctx, logs, name, config.Programs.Kubernetes, append([]string{name}, arguments[name]...)...)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		p.components = append(p.components, component)
		if name == "kube-apiserver" {
			// The other two would wait for it with growing pauses.
			if err := p.awaitServer(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *controlPlane) writeKubeconfigs(run string, loopbackPort int) error {
	inside := "https://" + gateway + ":" + apiPort
	for _, c := range []struct{ file, server, user, group string }{
		{"kubeconfig", fmt.Sprintf("https://127.0.0.1:%d", loopbackPort), "csi-dm-lab-admin", "system:masters"},
		{"supervisor.kubeconfig", inside, "csi-dm-lab-supervisor", "system:masters"},
		{"kube-controller-manager.kubeconfig", inside, "system:kube-controller-manager", ""},
		{"kube-scheduler.kubeconfig", inside, "system:kube-scheduler", ""},
		{"kube-proxy.kubeconfig", inside, "system:kube-proxy", ""},
	} {
		var groups []string
		if c.group != "" {
			groups = []string{c.group}
		}
		client, err := p.authority.client(c.file, c.user, groups...)
		if err != nil {
			return err
		}
		if err := p.authority.kubeconfig(filepath.Join(run, c.file), c.server, client); err != nil {
			return err
		}
	}
	p.proxyKubeconfig = filepath.Join(run, "kube-proxy.kubeconfig")
	return nil
}

// arguments are the flags of the components. Feature gates are Kubernetes' defaults, but for CSIVolumeHealth, without which
// kube-apiserver drops what kubelet writes; timeouts are short where a test would wait.
func (p *controlPlane) arguments(run string) (map[string][]string, error) {
	serving, err := p.authority.server("kube-apiserver", "localhost", "127.0.0.1", gateway, apiService,
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
	if err != nil {
		return nil, err
	}
	kubelets, err := p.authority.client("kube-apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return nil, err
	}
	accountKey, err := p.authority.accountKey()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(run, "etcd")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", data, "tmpfs", 0, etcdStorage); err != nil {
		return nil, fmt.Errorf("mount a tmpfs for etcd on %s: %w", data, err)
	}
	manager := filepath.Join(run, "kube-controller-manager.kubeconfig")
	scheduler := filepath.Join(run, "kube-scheduler.kubeconfig")
	apiQPS, apiBurst := fmt.Sprintf("--kube-api-qps=%d", ControlPlaneQPS), fmt.Sprintf("--kube-api-burst=%d", ControlPlaneBurst)
	return map[string][]string{
		"etcd": {
			"--name=lab", "--data-dir=" + data, "--unsafe-no-fsync",
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
			"--initial-cluster=lab=http://127.0.0.1:2380", "--log-level=warn",
		},
		"kube-apiserver": {
			"--etcd-servers=http://127.0.0.1:2379",
			"--bind-address=0.0.0.0", "--advertise-address=" + gateway, "--secure-port=" + apiPort,
			"--tls-cert-file=" + serving.certificate, "--tls-private-key-file=" + serving.key,
			"--client-ca-file=" + p.authority.file(),
			"--kubelet-certificate-authority=" + p.authority.file(),
			"--kubelet-client-certificate=" + kubelets.certificate, "--kubelet-client-key=" + kubelets.key,
			"--kubelet-preferred-address-types=InternalIP",
			"--service-cluster-ip-range=" + serviceNetwork,
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file=" + accountKey, "--service-account-signing-key-file=" + accountKey,
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			"--allow-privileged=true", "--profiling=false",
			"--feature-gates=CSIVolumeHealth=true",
		},
		"kube-controller-manager": {
			"--kubeconfig=" + manager, "--authentication-kubeconfig=" + manager, "--authorization-kubeconfig=" + manager,
			"--bind-address=127.0.0.1", "--leader-elect=false", "--use-service-account-credentials=true",
			"--service-account-private-key-file=" + accountKey, "--root-ca-file=" + p.authority.file(),
			apiQPS, apiBurst, "--profiling=false",
			// kubelets renew their lease every three seconds, see package node.
			"--node-monitor-period=2s", "--node-monitor-grace-period=16s",
		},
		"kube-scheduler": {
			"--kubeconfig=" + scheduler, "--authentication-kubeconfig=" + scheduler, "--authorization-kubeconfig=" + scheduler,
			"--bind-address=127.0.0.1", "--leader-elect=false", "--profiling=false",
			apiQPS, apiBurst,
		},
	}, nil
}

func (p *controlPlane) makeClient(kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 200, 400
	p.client, err = kubernetes.NewForConfig(config)
	return err
}

// awaitServer waits until kube-apiserver is ready.
func (p *controlPlane) awaitServer(ctx context.Context) error {
	return p.await(ctx, "kube-apiserver to be ready", func(ctx context.Context) (bool, error) {
		_, err := p.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil, nil
	})
}

// awaitUsable waits for the things a first pod needs and that the controller manager makes.
func (p *controlPlane) awaitUsable(ctx context.Context) error {
	return p.await(ctx, "the default ServiceAccount", func(ctx context.Context) (bool, error) {
		_, accountErr := p.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		_, rootErr := p.client.CoreV1().ConfigMaps(metav1.NamespaceDefault).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		return accountErr == nil && rootErr == nil, nil
	})
}

// await polls a condition; it gives up when a component ended or after startPatience.
func (p *controlPlane) await(ctx context.Context, what string, condition wait.ConditionWithContextFunc) error {
	err := wait.PollUntilContextTimeout(ctx, pollInterval, startPatience, true, func(ctx context.Context) (bool, error) {
		for _, component := range p.components {
			if !component.running() {
				return false, component.failure()
			}
		}
		return condition(ctx)
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w", what, err)
	}
	return nil
}
