//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

// healthPatience is how long a fault may take to be seen everywhere: the agent looks every ten seconds, and so does the lab's
// kubelet.
const healthPatience = 90 * time.Second

// TestHealth: the disk below a pool gives errors for a while. The pod's status, the CSINode, the metric and an event on the claim say
// so, and that it is well again.
func TestHealth(t *testing.T) {
	beyondMainJob(t)
	f := newFixture(t, 8*time.Minute)
	claim := f.claim("health", classExt4, 64*mebibyte)
	pod := f.run(cluster.Pod{Name: "health", Claim: claim.Name})
	node := pod.Spec.NodeName
	f.shell(pod, "echo kept >"+cluster.MountPath+"/file; sync")
	f.must(f.awaitPodHealth(pod, ""))
	f.must(f.awaitStorageHealth(node, ""))

	heal := f.breakData(node)
	f.must(f.awaitPodHealth(pod, "Inaccessible "+v1alpha1.ReasonDeviceUnreadable))
	f.must(f.awaitStorageHealth(node, "StorageUnreachable "+v1alpha1.ReasonDeviceUnreadable))
	event, err := f.AwaitEvent(f.ctx, eventPatience, "PersistentVolumeClaim", claim.Name, v1alpha1.ReasonDeviceUnreadable, node)
	f.must(err)
	f.Logf("the claim's event: %s", event)

	heal()
	f.must(f.awaitPodHealth(pod, ""))
	f.must(f.awaitStorageHealth(node, ""))
	event, err = f.AwaitEvent(f.ctx, eventPatience, "PersistentVolumeClaim", claim.Name, v1alpha1.ReasonRecovered, v1alpha1.ReasonDeviceUnreadable)
	f.must(err)
	f.Logf("the claim's event: %s", event)
	if content := f.shell(pod, "cat "+cluster.MountPath+"/file; echo after >"+cluster.MountPath+"/after; sync"); strings.TrimSpace(content) != "kept" {
		f.Errorf("after it all the file holds %q", content)
	}
}

// breakData has all reads and writes of the data of a node's pool fail until the function that it returns is called.
func (f *fixture) breakData(node string) (heal func()) {
	f.Helper()
	pool := &v1alpha1.NodeThinPool{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeThinPoolName(v1alpha1.DefaultPoolName, node)}}
	f.must(f.Get(f.ctx, client.ObjectKeyFromObject(pool), pool))
	device := strings.TrimSuffix(pool.Status.DeviceName, "-pool") + "-data"
	restore, err := f.FailDevice(f.ctx, node, device)
	f.must(err)
	healed := false
	heal = func() {
		if healed {
			return
		}
		healed = true
		if err := restore(f.cleanupContext()); err != nil {
			f.Errorf("make %s well again: %v", device, err)
		}
	}
	f.Cleanup(heal)
	return heal
}

// awaitPodHealth waits until the pod's status tells of its volume what is wanted; nothing: that it is well.
func (f *fixture) awaitPodHealth(pod *corev1.Pod, want string) error {
	began := time.Now()
	err := f.AwaitObject(f.ctx, healthPatience, pod, fmt.Sprintf("volume health %q", want), func() string {
		var told []string
		for _, volume := range pod.Status.VolumeHealth {
			for _, condition := range volume.HealthConditions {
				told = append(told, string(condition.Status)+" "+condition.Reason)
			}
		}
		return unlike(told, want)
	})
	f.Logf("pod health %q after %s", want, time.Since(began).Round(time.Second))
	return err
}

// awaitStorageHealth is awaitPodHealth for a node's CSINode.
func (f *fixture) awaitStorageHealth(node, want string) error {
	return cluster.Await(f.ctx, healthPatience, fmt.Sprintf("storage health %q of %s", want, node), func(ctx context.Context) (string, error) {
		object := &storagev1.CSINode{}
		if err := f.Get(ctx, client.ObjectKey{Name: node}, object); err != nil {
			return "", err
		}
		var told []string
		for _, driver := range object.Status.StorageHealth {
			for _, condition := range driver.HealthConditions {
				if driver.Name == v1alpha1.DriverName {
					told = append(told, string(condition.Status)+" "+condition.Reason)
				}
			}
		}
		return unlike(told, want), nil
	})
}

func unlike(told []string, want string) string {
	if want == "" && len(told) == 0 || slices.Contains(told, want) {
		return ""
	}
	return fmt.Sprintf("it is %q", told)
}
