package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/test/e2e/cluster"
	"github.com/csi-dm/csi-dm/test/e2e/deployment"
	"github.com/csi-dm/csi-dm/test/lab"
)

// Names of what the demo makes.
const (
	namespace = "demo"
	class     = "thin"
)

// volumeSize is what the first two pods ask for, in bytes.
const volumeSize = 256 << 20

// podPatience is how long a pod may take to run on a node with one processor.
const podPatience = 2 * time.Minute

type demo struct {
	*narrator
	cluster    *cluster.Cluster
	deployment *deployment.Deployment
	// node is where the first pod runs.
	node string
}

func (d *demo) bringUp(ctx context.Context) error {
	d.say("etcd, API server, scheduler and controller manager of Kubernetes 1.37.1 run as processes, each node is a\n" +
		"User Mode Linux guest with a kernel, kubelet and containerd of its own, and a raw disk " + lab.PoolDevice + ".\n" +
		"The first time, all of it is built from Go modules, which takes a quarter of an hour.")
	l, err := lab.Up(ctx, lab.Options{Progress: d})
	if err != nil {
		return err
	}
	if d.cluster, err = cluster.Connect(l); err != nil {
		return err
	}
	return d.kubectl(ctx, "get", "nodes")
}

func (d *demo) install(ctx context.Context) error {
	var err error
	if d.deployment, err = deployment.New(ctx, d.cluster, d); err != nil {
		return err
	}
	if err := d.deployment.Ensure(ctx); err != nil {
		return err
	}
	return d.kubectl(ctx, "--namespace", deployment.Namespace, "get", "pods", "--output", "wide")
}

func (d *demo) showPools(ctx context.Context) error {
	d.say("A ThinPool says which nodes have a pool, and of what. The controller made a NodeThinPool for each node,\n" +
		"the node plugin there made the pool of the disk.")
	if err := d.kubectl(ctx, "get", "thinpools"); err != nil {
		return err
	}
	return d.kubectl(ctx, "get", "nodethinpools")
}

func (d *demo) firstPod(ctx context.Context) error {
	if err := d.clean(ctx); err != nil {
		return err
	}
	if err := d.apply(ctx, "class.yaml", classManifest(), classManifest()); err != nil {
		return err
	}
	pod, err := d.startPod(ctx, "first", volumeSize, "")
	if err != nil {
		return err
	}
	d.node = pod.Spec.NodeName
	if err := d.kubectl(ctx, "--namespace", namespace, "get", "pod,persistentvolumeclaim"); err != nil {
		return err
	}
	if err := d.kubectl(ctx, "get", "thinvolumes"); err != nil {
		return err
	}
	const line = "echo 'hello, thin volume' >/data/greeting && sync /data/greeting && cat /data/greeting && df -h /data"
	output, err := d.cluster.Shell(ctx, pod, line)
	if err != nil {
		return err
	}
	d.command(fmt.Sprintf("kubectl --namespace %s exec first -- sh -c %q", namespace, line), output)
	if !strings.HasPrefix(output, "hello, thin volume") {
		return fmt.Errorf("the pod read %q", output)
	}
	return nil
}

func (d *demo) explainBase(ctx context.Context) error {
	d.say("Nobody ran mkfs for this pod's start. When the first volume of a size is asked for, the node formats a base of\n"+
		"that size; the volume is a copy-on-write snapshot of it. This is the pool on %s, as docker info used to show it:", d.node)
	for _, arguments := range [][]string{{"pool", "info"}, {"volume", "list"}} {
		output, err := d.deployment.NodeCommand(ctx, d.node, arguments...)
		if err != nil {
			return err
		}
		d.command("csi-dm "+strings.Join(arguments, " ")+"      (on "+d.node+")", output)
	}
	names, err := d.deployment.RegistryVolumes(ctx, d.node)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("the pool on %s knows of no volume", d.node)
	}
	return nil
}

func (d *demo) secondPod(ctx context.Context) error {
	pool, err := d.deployment.AwaitPool(ctx, d.node)
	if err != nil {
		return err
	}
	before, err := d.cluster.PoolBlocks(ctx, d.node, pool.Status.DeviceName)
	if err != nil {
		return err
	}
	if _, err := d.startPod(ctx, "second", volumeSize, d.node); err != nil {
		return err
	}
	after, err := d.cluster.PoolBlocks(ctx, d.node, pool.Status.DeviceName)
	if err != nil {
		return err
	}
	d.say("A formatted volume of %d MiB, mounted, took %d KiB of the pool: the rest it shares with its base.",
		volumeSize>>20, (after.Used-before.Used)*before.Size>>10)
	return nil
}

func (d *demo) showCapacity(ctx context.Context) error {
	d.say("The controller publishes what each pool can still promise; the scheduler reads it.")
	return d.capacities(ctx)
}

func (d *demo) capacities(ctx context.Context) error {
	arguments := []string{"get", "csistoragecapacities", "--all-namespaces", "--output",
		`custom-columns=CLASS:.storageClassName,NODE:.nodeTopology.matchLabels.topology\.csi-dm\.io/node,CAPACITY:.capacity,LARGEST:.maximumVolumeSize`}
	output, err := d.cluster.Kubectl(ctx, arguments...)
	if err != nil {
		return err
	}
	d.command("kubectl get csistoragecapacities --all-namespaces --output custom-columns=…", output)
	return nil
}

func (d *demo) steer(ctx context.Context) error {
	largest, err := d.cluster.LargestVolume(ctx, class, d.node)
	if err != nil {
		return err
	}
	half := largest / 2 >> 20 << 20
	d.say("A third claim takes more than half of what %s has left. A fourth pod asks for as much, and would rather run on\n"+
		"%s, too.", d.node, d.node)
	if _, err := d.startPod(ctx, "third", half+64<<20, d.node); err != nil {
		return err
	}
	_, err = d.cluster.AwaitLargestVolume(ctx, 30*time.Second, class, d.node, "below that",
		func(now int64) bool { return now < half+64<<20 })
	if err != nil {
		return err
	}
	if err := d.capacities(ctx); err != nil {
		return err
	}
	pod, err := d.startPod(ctx, "fourth", half+64<<20, d.node)
	if err != nil {
		return err
	}
	if err := d.kubectl(ctx, "--namespace", namespace, "get", "pods", "--output",
		"custom-columns=POD:.metadata.name,STATUS:.status.phase,NODE:.spec.nodeName"); err != nil {
		return err
	}
	if pod.Spec.NodeName == d.node {
		return fmt.Errorf("the fourth pod runs on %s, where its claim should not have fitted", d.node)
	}
	d.say("It runs on %s: its claim did not fit on %s.", pod.Spec.NodeName, d.node)
	return d.kubectl(ctx, "get", "thinvolumes")
}

func (d *demo) farewell() {
	paths := d.cluster.Lab.Paths()
	d.say("The cluster stays up. To look around:")
	d.say("")
	d.say("    export KUBECONFIG=%s PATH=%s:$PATH", d.cluster.Lab.Kubeconfig(), paths.Tools())
	d.say("    kubectl get thinpools,nodethinpools,thinvolumes")
	d.say("    kubectl --namespace %s exec -ti first -- sh", namespace)
	d.say("    kubectl --namespace %s delete pod,pvc --all", namespace)
	d.say("")
	d.say("To run the end-to-end tests on it: make e2e-test. To take it down: make lab-down.")
}

// startPod makes a claim and a pod that uses it, by a manifest as a person would write it, and waits until the pod runs.
func (d *demo) startPod(ctx context.Context, name string, size int64, preferred string) (*corev1.Pod, error) {
	start := time.Now()
	manifest := podManifest(name, size, preferred)
	shown := manifest
	if name != "first" {
		shown = fmt.Sprintf("as first.yaml, with the name %s, storage: %dMi, and a preference for %s", name, size>>20, preferred)
	}
	if err := d.apply(ctx, name+".yaml", manifest, shown); err != nil {
		return nil, err
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := d.cluster.AwaitRunning(ctx, podPatience, pod); err != nil {
		return nil, err
	}
	d.say("Pod %s runs on %s, %.1f s after kubectl apply.", name, pod.Spec.NodeName, time.Since(start).Seconds())
	return pod, nil
}

func (d *demo) apply(ctx context.Context, name, manifest, shown string) error {
	d.file(name, shown)
	output, err := d.cluster.Apply(ctx, manifest)
	if err != nil {
		return err
	}
	d.command("kubectl apply --filename "+name, output)
	return nil
}

func (d *demo) kubectl(ctx context.Context, arguments ...string) error {
	output, err := d.cluster.Kubectl(ctx, arguments...)
	if err != nil {
		return err
	}
	d.command("kubectl "+strings.Join(arguments, " "), output)
	return nil
}
