//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/e2e/cluster"
	"github.com/csi-dm/csi-dm/test/e2e/deployment"
)

// counting writes the next number every 0.2 s and fsyncs it; it ends with an error when a write fails.
const counting = `n=0; while :; do n=$((n+1)); echo $n >` + cluster.MountPath + `/count.new || exit 1
sync ` + cluster.MountPath + `/count.new || exit 1; mv ` + cluster.MountPath + `/count.new ` + cluster.MountPath + `/count || exit 1; sleep 0.2; done`

// TestUpgradeAndUninstall: pods write on both nodes while the chart is upgraded, so that every pod of the driver is replaced, and
// uninstalled and installed again. None of them notices; their data, and their volumes' objects, are there; afterwards a volume can
// be unmounted, mounted by another pod, and deleted.
func TestUpgradeAndUninstall(t *testing.T) {
	f := newFixture(t, 20*time.Minute)
	// Whatever happens, later tests find the driver installed.
	t.Cleanup(func() {
		if err := suite.deployment.Ensure(f.cleanupContext()); err != nil {
			t.Errorf("install the driver again: %v", err)
		}
	})
	var writers []*writer
	for index, node := range suite.nodes {
		w := &writer{fixture: f, node: node, name: fmt.Sprintf("writer-%d", index)}
		f.claim(w.name, classExt4, 64*mebibyte)
		w.pod = f.run(cluster.Pod{Name: w.name, Claim: w.name, Node: node, Script: counting})
		w.write("before")
		writers = append(writers, w)
	}

	processes := f.pluginProcesses()
	f.must(suite.deployment.Install(f.ctx, "logLevel=5"))
	f.must(suite.deployment.AwaitRollout(f.ctx))
	f.must(suite.deployment.AwaitPools(f.ctx))
	for node, process := range f.pluginProcesses() {
		if process == processes[node] {
			f.Errorf("%s: the upgrade did not replace the node plugin: this test shows nothing", node)
		}
	}
	f.expectUnharmed(writers, "after helm upgrade")

	f.must(suite.deployment.Uninstall(f.ctx))
	for node, process := range f.pluginProcesses() {
		if process != 0 {
			f.Errorf("%s: the node plugin runs after helm uninstall", node)
		}
	}
	f.expectUnharmed(writers, "after helm uninstall")
	for _, object := range []client.Object{deployment.Pool(), &v1alpha1.NodeThinPool{ObjectMeta: metav1.ObjectMeta{
		Name: v1alpha1.NodeThinPoolName(v1alpha1.DefaultPoolName, suite.nodes[0])}}} {
		f.must(f.Get(f.ctx, client.ObjectKeyFromObject(object), object))
	}

	f.must(suite.deployment.Install(f.ctx))
	f.must(suite.deployment.AwaitRollout(f.ctx))
	f.must(suite.deployment.AwaitPools(f.ctx))
	f.expectUnharmed(writers, "after helm install")
	for _, w := range writers {
		f.must(f.DeletePod(f.ctx, deletionPatience, w.pod))
		w.start()
		w.check("in another pod after helm install")
	}
}

// pluginProcesses are the node plugins' process ids by node, 0 where there is none.
func (f *fixture) pluginProcesses() map[string]int {
	f.Helper()
	found := map[string]int{}
	for _, node := range suite.nodes {
		processes, err := f.Processes(f.ctx, node, "csi-dm", "node")
		f.must(err)
		found[node] = 0
		if len(processes) > 0 {
			found[node] = processes[0]
		}
	}
	return found
}

// expectUnharmed: the same containers run and still write, their files are what they were, and their ThinVolumes exist.
func (f *fixture) expectUnharmed(writers []*writer, when string) {
	f.Helper()
	for _, w := range writers {
		pod := &corev1.Pod{}
		f.must(f.Get(f.ctx, client.ObjectKeyFromObject(w.pod), pod))
		if statuses := pod.Status.ContainerStatuses; len(statuses) != 1 || statuses[0].RestartCount != 0 || !statuses[0].Ready {
			f.Errorf("%s: %s: container is %+v", when, w.name, statuses)
		}
		first := w.count()
		f.must(f.awaitCount(w, first))
		w.check(when)
		volumes, err := f.ClaimVolumes(f.ctx, f.namespace, w.name)
		f.must(err)
		if len(volumes) != 1 || volumes[0].DeletionTimestamp != nil {
			f.Errorf("%s: ThinVolumes of %s: %+v: want one", when, w.name, volumes)
		}
	}
}

func (w *writer) count() int {
	w.Helper()
	number, err := strconv.Atoi(w.shell(w.pod, "cat "+cluster.MountPath+"/count"))
	w.must(err)
	return number
}

// awaitCount waits until the pod has written a number greater than first.
func (f *fixture) awaitCount(w *writer, first int) error {
	f.Helper()
	return cluster.Await(f.ctx, time.Minute, w.name+" to go on writing", func(context.Context) (string, error) {
		if now := w.count(); now <= first {
			return fmt.Sprintf("the last number is %d, it was %d", now, first), nil
		}
		return "", nil
	})
}
