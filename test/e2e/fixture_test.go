//go:build e2e

package e2e

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/test/e2e/cluster"
	"github.com/csi-dm/csi-dm/test/e2e/deployment"
)

// How long single steps may take on a node with one processor, on a machine that has other work as well.
const (
	bindPatience     = 2 * time.Minute
	podPatience      = 3 * time.Minute
	bootPatience     = 6 * time.Minute
	deletionPatience = 2 * time.Minute
	eventPatience    = 2 * time.Minute
	cleanupPatience  = 5 * time.Minute
)

const mebibyte = 1 << 20

// running is held by each fixture for reading as long as its test runs. Tests that neither look at a whole node, nor disturb one, nor
// keep its processor busy, run side by side (t.Parallel), after all others: most of their time is waiting for kubelet and the scheduler.
var running sync.RWMutex

// fixture is a namespace of its own for a test. At the test's end all that is in it is deleted, and the nodes must hold no
// device and no mount that they did not hold before; of tests that run side by side, at the end of one that is alone then.
type fixture struct {
	*testing.T
	*cluster.Cluster
	ctx       context.Context
	namespace string
	ended     func()
}

// beyondMainJob is called first by tests of single features that the main job does not need: make e2e-test runs them, make test, which
// has to finish within an hour on two cores with nothing built before, does not.
func beyondMainJob(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a feature beyond the main job: make e2e-test runs it")
	}
}

func newFixture(t *testing.T, limit time.Duration) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	running.RLock()
	ended := sync.OnceFunc(running.RUnlock)
	t.Cleanup(ended)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "e2e-" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) + "-",
		Labels:       map[string]string{namespaceLabel: "true"},
	}}
	if err := suite.Create(ctx, namespace); err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, Cluster: suite.Cluster, ctx: ctx, namespace: namespace.Name, ended: ended}
	t.Cleanup(f.awaitBaseline)
	t.Cleanup(f.cleanup)
	return f
}

func (f *fixture) cleanup() {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupPatience)
	defer cancel()
	if f.Failed() {
		f.Log(suite.Diagnose(ctx, f.namespace, deployment.Namespace))
	}
	if err := powerOn(ctx); err != nil {
		f.Errorf("clean up: %v", err)
	}
	if err := suite.EmptyNamespace(ctx, f.namespace); err != nil {
		f.Errorf("clean up: %v", err)
		f.Log(suite.Diagnose(ctx, f.namespace, deployment.Namespace))
	}
}

// awaitBaseline looks at the nodes, unless another test runs.
func (f *fixture) awaitBaseline() {
	f.ended()
	if !running.TryLock() {
		return
	}
	defer running.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), cleanupPatience)
	defer cancel()
	for _, node := range suite.nodes {
		if err := awaitBaseline(ctx, node); err != nil {
			f.Errorf("clean up: %v", err)
			f.Log(suite.Diagnose(ctx, f.namespace, deployment.Namespace))
		}
	}
}

// cleanupContext outlives the test's deadline.
func (f *fixture) cleanupContext() context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.ctx), cleanupPatience)
	f.Cleanup(cancel)
	return ctx
}

// must ends the test if err is an error.
func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// claim creates a claim that waits for its first consumer.
func (f *fixture) claim(name, class string, size int64) *corev1.PersistentVolumeClaim {
	f.Helper()
	claim, err := f.CreateClaim(f.ctx, cluster.Claim{Namespace: f.namespace, Name: name, Class: class, Size: size})
	f.must(err)
	return claim
}

// volumeOn creates a claim whose volume is made on a node without a pod, and returns it with the volume's handle.
func (f *fixture) volumeOn(node, name, class string, size int64) (*corev1.PersistentVolumeClaim, string) {
	f.Helper()
	claim, err := f.CreateClaim(f.ctx, cluster.Claim{Namespace: f.namespace, Name: name, Class: class, Size: size, Node: node})
	f.must(err)
	handle, err := f.AwaitBound(f.ctx, bindPatience, claim)
	f.must(err)
	return claim, handle
}

// run creates a pod and waits until it runs.
func (f *fixture) run(pod cluster.Pod) *corev1.Pod {
	f.Helper()
	pod.Namespace = f.namespace
	created, err := f.CreatePod(f.ctx, pod)
	f.must(err)
	f.must(f.AwaitRunning(f.ctx, podPatience, created))
	return created
}

// shell runs a line of shell in the pod and returns its output.
func (f *fixture) shell(pod *corev1.Pod, line string) string {
	f.Helper()
	output, err := f.Shell(f.ctx, pod, line)
	f.must(err)
	return output
}
