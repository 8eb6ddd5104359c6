//go:build e2e

package bench

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/e2e/cluster"
	"github.com/csi-dm/csi-dm/test/e2e/deployment"
	"github.com/csi-dm/csi-dm/test/lab"
	"github.com/csi-dm/csi-dm/test/lab/control"
)

var writeTo = flag.String("write", "", "write the tables into this `file` instead of printing them")

const (
	// claimSize is the least that an ext4 can have: a thousand of them are to find room.
	claimSize = 16 << 20
	// The nodes' disks are sparse files. Fifty pods, with containerd's shims, want more memory than a node of the lab has.
	nodeDisk   = 24 << 30
	nodeMemory = 2 << 30
	// memoryBound is what a process of the driver may have in memory with a thousand volumes.
	memoryBound = 64 << 20
	writesBound = 2
)

// clusterPlan is how many of what are measured.
type clusterPlan struct{ pods, claims int }

// clusterRun is one run on a lab's cluster.
type clusterRun struct {
	*cluster.Cluster
	t                *testing.T
	ctx              context.Context
	watcher          client.WithWatch
	deployment       *deployment.Deployment
	nodes            []string
	namespace, class string
	usage            *usageWrites

	verdicts                       verdicts
	times, writes, storage, memory *table
}

// TestClusterPerformance measures pods and claims on a cluster of two nodes, and prints tables.
func TestClusterPerformance(t *testing.T) {
	plan := clusterPlan{pods: 100, claims: 1000}
	if testing.Short() {
		plan = clusterPlan{pods: 4, claims: 20}
	}
	log.SetLogger(klog.Background())
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Minute)
	defer cancel()
	load := HostLoad()
	_, attachErr := lab.Attach(ctx)
	var nodes []control.NodeOptions
	for _, name := range []string{"node-a", "node-b"} {
		nodes = append(nodes, control.NodeOptions{Name: name, PoolDiskBytes: nodeDisk, MemoryBytes: nodeMemory})
	}
	l, err := lab.Up(ctx, lab.Options{Nodes: nodes, Progress: os.Stderr})
	noError(t, err)
	if attachErr != nil {
		t.Cleanup(func() { noError(t, l.Down(context.WithoutCancel(ctx))) })
	}
	r := newClusterRun(ctx, t, l)
	defer func() {
		if t.Failed() {
			t.Log(r.Diagnose(context.WithoutCancel(ctx), r.namespace, deployment.Namespace))
		}
	}()
	r.warmUp()
	r.measurePods(plan.pods)
	noError(t, r.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(r.namespace)))
	r.measureClaims(plan.claims)
	// So that one agent has as many as the controller was just measured with.
	r.bind(plan.claims/2, "more", r.nodes[0])
	r.measureMemory(plan.claims)
	limits := r.apiLimits()
	r.measureDeletion()
	noError(t, r.EmptyNamespace(ctx, r.namespace))

	text := fmt.Sprintf("Printed by `make bench-cluster` on %s: two nodes with one processor each on a host with %s; load average of the host %s at the beginning, %s at the end.\n\n%s\n"+
		"What the users wait for:\n\n%s\nWhat of that was the storage's own part, by the agents' histograms:\n\n%s\n"+
		"Writes of the driver, by the API server's count of requests, those that failed included:\n\n%s\nResident memory:\n\n%s\nWhat each component may ask of the API server:\n\n%s",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), Host(), load, HostLoad(), r.verdicts.table(), r.times, r.storage, r.writes, r.memory, limits)
	if *writeTo == "" || testing.Short() {
		fmt.Println(text)
		return
	}
	noError(t, clusterPlace.Replace(*writeTo, text))
}

func newClusterRun(ctx context.Context, t *testing.T, l *lab.Lab) *clusterRun {
	t.Helper()
	c, err := cluster.Connect(l)
	noError(t, err)
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	noError(t, err)
	config.QPS = -1
	watcher, err := client.NewWithWatch(config, client.Options{Scheme: c.Scheme(), Mapper: c.RESTMapper()})
	noError(t, err)
	r := &clusterRun{
		Cluster: c, t: t, ctx: ctx, watcher: watcher, class: "bench-ext4",
		times:   newTable("what", "p50 s", "p99 s", "longest s", "failed scheduling attempts"),
		writes:  newTable("what", "ThinVolumes, per volume", "volumes' usage, per volume", "pools' status, in all", "capacity, in all"),
		storage: newTable("what", "step", "p50 ms", "p99 ms", "mean ms", "how many"),
		memory:  newTable("process", "volumes", "MiB"),
	}
	r.deployment, err = deployment.New(ctx, c, os.Stderr)
	noError(t, err)
	noError(t, r.deployment.Ensure(ctx))
	noError(t, r.EnsureClass(ctx, cluster.Class{Name: r.class, Parameters: map[string]string{v1alpha1.ParameterFSType: "ext4"}}))
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-"}}
	noError(t, r.Create(ctx, namespace))
	r.namespace = namespace.Name
	nodes, err := l.Nodes(ctx)
	noError(t, err)
	for _, node := range nodes {
		r.nodes = append(r.nodes, node.Name)
	}
	r.usage = r.observeUsage()
	return r
}

// warmUp has the bases made, as they are once the first claim of a size has been there.
func (r *clusterRun) warmUp() {
	r.t.Helper()
	for _, node := range r.nodes {
		claim, err := r.CreateClaim(r.ctx, cluster.Claim{Namespace: r.namespace, Name: "warm-" + node, Class: r.class, Size: claimSize, Node: node})
		noError(r.t, err)
		_, err = r.AwaitBound(r.ctx, 2*time.Minute, claim)
		noError(r.t, err)
	}
}

// measureMemory looks at the driver's processes.
func (r *clusterRun) measureMemory(volumes int) {
	r.t.Helper()
	on := map[string]int{}
	var all v1alpha1.ThinVolumeList
	noError(r.t, r.List(r.ctx, &all))
	for i := range all.Items {
		on[all.Items[i].Spec.NodeName]++
	}
	for _, node := range r.nodes {
		for role, has := range map[string]int{"node": on[node], "controller": len(all.Items)} {
			resident := r.residentBytes(node, role)
			if resident == 0 {
				continue
			}
			what := fmt.Sprintf("%s on %s", map[string]string{"node": "agent", "controller": "controller"}[role], node)
			r.memory.row(what, fmt.Sprint(has), number(float64(resident)/(1<<20)))
			if has >= volumes {
				r.verdicts.atMost(fmt.Sprintf("resident memory of the %s with %d volumes", what, has), float64(resident)/(1<<20), memoryBound>>20, " MiB")
			}
		}
	}
}

// counters are all that is counted, at one time.
type counters struct {
	writes  writes
	storage storage
	usage   int
}

func (r *clusterRun) look() counters {
	r.t.Helper()
	return counters{r.readWrites(), r.readStorage(), r.usage.sofar()}
}

func (r *clusterRun) note(what string, took sample, attempts string) {
	seconds := func(q float64) string { return fmt.Sprintf("%.2f", took.quantile(q).Seconds()) }
	r.times.row(what, seconds(0.5), seconds(0.99), seconds(1), attempts)
}

// noteWrites notes what was written since an earlier look.
func (r *clusterRun) noteWrites(what string, before counters, volumes int) {
	r.t.Helper()
	usage := r.usage.sofar() - before.usage
	now := r.readWrites()
	own := float64(now.since(before.writes, "thinvolumes")-usage) / float64(volumes)
	r.writes.row(what, fmt.Sprintf("%.3f", own), fmt.Sprintf("%.3f", float64(usage)/float64(volumes)),
		fmt.Sprint(now.since(before.writes, "nodethinpools")), fmt.Sprint(now.since(before.writes, "csistoragecapacities")))
	r.verdicts.atMost("writes of the driver per volume: "+what, own, writesBound, "")
}

func (r *clusterRun) noteStorage(what string, before counters, steps ...string) {
	r.t.Helper()
	now := r.readStorage()
	for _, step := range steps {
		h := now[step].since(before.storage[step])
		r.storage.row(what, step, milliseconds(h.quantile(0.5)), milliseconds(h.quantile(0.99)), milliseconds(h.mean()), fmt.Sprint(h.count))
	}
}

// noError ends the run on an error.
func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
