//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

// TestKills: twenty claims are made at once with their pods. Agents and controller are killed while the volumes are being made,
// and again while the pods start. All twenty pods run in the end, each on a volume that no other has and that was made once.
func TestKills(t *testing.T) {
	const count, size = 20, 64 * mebibyte
	f := newFixture(t, 25*time.Minute)
	registered := map[string][]string{}
	for _, node := range suite.nodes {
		names, err := suite.deployment.RegistryVolumes(f.ctx, node)
		f.must(err)
		registered[node] = names
	}
	for _, node := range suite.nodes {
		// So that both nodes take part.
		_, err := f.AwaitLargestVolume(f.ctx, bootPatience, classExt4, node, "that of a pool that admits", func(largest int64) bool { return largest >= count*size })
		f.must(err)
	}
	pods := f.startTogether(count, size)

	f.must(f.awaitVolumes("to be half made", func(made, ready int) bool { return made >= 4 && ready < count }))
	f.kill("while volumes were made")
	f.must(f.awaitPods(3))
	f.kill("while pods started")

	for _, pod := range pods {
		// Kubelet waits up to two minutes before it tries a mount again that met no driver, and then starts ten pods on one processor.
		f.must(f.AwaitRunning(f.ctx, 12*time.Minute, pod))
	}
	// The pods need the driver no more; its own containers may still wait for their restart, and are asked now.
	f.must(suite.deployment.AwaitRollout(f.ctx))
	f.must(suite.deployment.AwaitPools(f.ctx))
	volumes := f.expectOneVolumeEach(pods)
	f.expectRegistriesHold(volumes, registered)
	for _, pod := range pods {
		if ids := f.shell(pod, "cat "+cluster.MountPath+"/id"); ids != pod.Name {
			f.Errorf("volume of pod %s was written by %q", pod.Name, ids)
		}
	}
}

// startTogether creates claims and pods from a goroutine each. A pod adds its name to a file on its volume, once.
func (f *fixture) startTogether(count int, size int64) []*corev1.Pod {
	f.Helper()
	script := "cd " + cluster.MountPath + "; grep -qx $HOSTNAME id || echo $HOSTNAME >>id; sync; trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"
	pods, errs := make([]*corev1.Pod, count), make([]error, count)
	var group sync.WaitGroup
	for index := range count {
		group.Go(func() {
			name := fmt.Sprintf("together-%02d", index)
			if _, errs[index] = f.CreateClaim(f.ctx, cluster.Claim{Namespace: f.namespace, Name: name, Class: classExt4, Size: size}); errs[index] == nil {
				pods[index], errs[index] = f.CreatePod(f.ctx, cluster.Pod{Namespace: f.namespace, Name: name, Claim: name, Script: script})
			}
		})
	}
	group.Wait()
	for _, err := range errs {
		f.must(err)
	}
	return pods
}

// kill ends the driver's processes on all nodes at once, as a crash would, and returns when they are gone.
func (f *fixture) kill(when string) {
	f.Helper()
	made, ready, err := f.countVolumes(f.ctx)
	f.must(err)
	killed := 0
	for _, name := range suite.nodes {
		node, err := f.Lab.Node(f.ctx, name)
		f.must(err)
		for _, role := range []string{"node", "controller"} {
			processes, err := f.Processes(f.ctx, name, "csi-dm", role)
			f.must(err)
			for _, process := range processes {
				_, err := node.Output(f.ctx, "sh", "-c", `kill -KILL "$1"`, "sh", strconv.Itoa(process))
				f.must(err)
				killed++
			}
		}
	}
	if want := len(suite.nodes) + 1; killed < want {
		f.Fatalf("%s: %d processes of the driver were there to be killed: want %d at least, an agent a node and a controller", when, killed, want)
	}
	f.Logf("killed %d processes %s: %d ThinVolumes existed, %d were ready", killed, when, made, ready)
}

// countVolumes counts the namespace's ThinVolumes and those among them that are ready.
func (f *fixture) countVolumes(ctx context.Context) (made, ready int, err error) {
	volumes, err := f.NamespaceVolumes(ctx, f.namespace)
	for _, volume := range volumes {
		if meta.IsStatusConditionTrue(volume.Status.Conditions, v1alpha1.ConditionReady) {
			ready++
		}
	}
	return len(volumes), ready, err
}

func (f *fixture) awaitVolumes(what string, enough func(made, ready int) bool) error {
	return cluster.Await(f.ctx, bindPatience, "volumes "+what, func(ctx context.Context) (string, error) {
		made, ready, err := f.countVolumes(ctx)
		if err != nil || enough(made, ready) {
			return "", err
		}
		return fmt.Sprintf("%d are made, %d are ready", made, ready), nil
	})
}

// awaitPods waits until some of the namespace's pods run.
func (f *fixture) awaitPods(running int) error {
	return cluster.Await(f.ctx, 5*time.Minute, fmt.Sprintf("%d pods to run", running), func(ctx context.Context) (string, error) {
		var pods corev1.PodList
		if err := f.List(ctx, &pods, client.InNamespace(f.namespace)); err != nil {
			return "", err
		}
		now := 0
		for _, pod := range pods.Items {
			if pod.Status.Phase == corev1.PodRunning {
				now++
			}
		}
		if now >= running {
			return "", nil
		}
		return fmt.Sprintf("%d run", now), nil
	})
}

// expectOneVolumeEach: every pod's claim is bound to a PersistentVolume of its own, which has one ready ThinVolume; there are no
// others. It returns the ThinVolumes' names by node.
func (f *fixture) expectOneVolumeEach(pods []*corev1.Pod) map[string][]string {
	f.Helper()
	byNode := map[string][]string{}
	handles := map[string]string{}
	for _, pod := range pods {
		claim := &corev1.PersistentVolumeClaim{}
		f.must(f.Get(f.ctx, client.ObjectKeyFromObject(pod), claim))
		handle, err := f.AwaitBound(f.ctx, bindPatience, claim)
		f.must(err)
		if other, taken := handles[handle]; taken {
			f.Errorf("claims %s and %s share volume %s", other, claim.Name, handle)
		}
		handles[handle] = claim.Name
		volumes, err := f.ClaimVolumes(f.ctx, f.namespace, claim.Name)
		f.must(err)
		if len(volumes) != 1 || volumes[0].Name != handle || !meta.IsStatusConditionTrue(volumes[0].Status.Conditions, v1alpha1.ConditionReady) {
			f.Errorf("claim %s with volume %s: its ThinVolumes are %+v: want this one, ready", claim.Name, handle, volumes)
			continue
		}
		if node := volumes[0].Spec.NodeName; node != pod.Spec.NodeName {
			f.Errorf("pod %s runs on %s, its volume is on %s", pod.Name, pod.Spec.NodeName, node)
		}
		byNode[pod.Spec.NodeName] = append(byNode[pod.Spec.NodeName], handle)
	}
	if made, ready, err := f.countVolumes(f.ctx); err != nil || made != len(pods) || ready != len(pods) {
		f.Errorf("%d ThinVolumes, %d ready (%v): want %d", made, ready, err, len(pods))
	}
	return byNode
}

// expectRegistriesHold: each node's registry holds what it held before and exactly the given volumes, and the agent, which compared it with
// the pool when it started after the kill, found no difference.
func (f *fixture) expectRegistriesHold(volumes, before map[string][]string) {
	f.Helper()
	for _, node := range suite.nodes {
		names, err := suite.deployment.RegistryVolumes(f.ctx, node)
		f.must(err)
		want := slices.Sorted(slices.Values(append(slices.Clone(before[node]), volumes[node]...)))
		if got := slices.Sorted(slices.Values(names)); !slices.Equal(got, want) {
			f.Errorf("registry of %s holds\n  %s\nwant\n  %s", node, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
		pools, err := suite.deployment.PoolInfo(f.ctx, node)
		f.must(err)
		for _, pool := range pools {
			if pool.LostVolumes != 0 || pool.UnknownThinDevices != 0 {
				f.Errorf("pool on %s: %+v: want neither lost volumes nor unknown thin devices", node, pool)
			}
		}
	}
}
