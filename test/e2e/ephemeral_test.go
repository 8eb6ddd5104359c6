//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/e2e/cluster"
	"github.com/csi-dm/csi-dm/test/e2e/deployment"
)

// inlineSource is an inline ephemeral volume of 320 MiB, with more attributes or others.
func inlineSource(fsType string, attributes map[string]string) *corev1.VolumeSource {
	all := map[string]string{v1alpha1.AttributeSize: "320Mi"}
	maps.Copy(all, attributes)
	source := &corev1.CSIVolumeSource{Driver: v1alpha1.DriverName, VolumeAttributes: all}
	if fsType != "" {
		source.FSType = &fsType
	}
	return &corev1.VolumeSource{CSI: source}
}

// TestInlineEphemeral: pods have inline volumes of either file system, of which the API server holds nothing but their sum; they go
// with their pods, and with all that the pods wrote.
func TestInlineEphemeral(t *testing.T) {
	beyondMainJob(t)
	const size = 320 * mebibyte
	f := newFixture(t, 10*time.Minute)
	node := suite.nodes[0]
	var pods []*corev1.Pod
	for _, fsType := range []string{"ext4", "xfs"} {
		pods = append(pods, f.run(cluster.Pod{Name: "inline-" + fsType, Node: node, Source: inlineSource(fsType, nil)}))
	}
	for _, pod := range pods {
		fields := strings.Fields(f.shell(pod, "grep ' "+cluster.MountPath+" ' /proc/mounts"))
		if len(fields) < 4 || "inline-"+fields[2] != pod.Name {
			f.Errorf("%s: its mount is %q", pod.Name, fields)
		}
		f.shell(pod, "dd if=/dev/urandom of="+cluster.MountPath+"/blob bs=1M count=16 conv=fsync 2>/dev/null")
	}
	if names := f.inlineVolumes(node); len(names) != 2 {
		f.Errorf("the registry holds the inline volumes %q: want two", names)
	}
	f.expectNoObjects(f.inlineVolumes(node))
	f.awaitInlineBytes(node, 2*size)
	for _, pod := range pods {
		f.must(f.DeletePod(f.ctx, deletionPatience, pod))
	}
	f.awaitNoInlineVolumes(node)
	f.awaitInlineBytes(node, 0)
	// One that follows finds nothing of them.
	pod := f.run(cluster.Pod{Name: "inline-ext4", Node: node, Source: inlineSource("ext4", nil)})
	if files := f.shell(pod, "ls "+cluster.MountPath); strings.Contains(files, "blob") {
		f.Errorf("a new pod finds %q", files)
	}
}

// TestInlineEphemeralRefused: what a pod asks and cannot have stands in an event on the pod, with what is allowed, and nothing is made.
func TestInlineEphemeralRefused(t *testing.T) {
	beyondMainJob(t)
	f := newFixture(t, 8*time.Minute)
	node := suite.nodes[0]
	var pods []*corev1.Pod
	refusals := map[string]struct {
		source *corev1.VolumeSource
		words  []string
	}{
		"size":      {inlineSource("", map[string]string{v1alpha1.AttributeSize: "1Gi"}), []string{v1alpha1.AttributeSize, "1Gi", "at most " + deployment.InlineSizeLimit}},
		"no-size":   {inlineSource("", map[string]string{v1alpha1.AttributeSize: ""}), []string{v1alpha1.AttributeSize, "required"}},
		"attribute": {inlineSource("", map[string]string{"csi-dm.io/colour": "blue"}), []string{"csi-dm.io/colour", v1alpha1.ParameterPool, v1alpha1.AttributeSize}},
		"mkfs":      {inlineSource("ext4", map[string]string{v1alpha1.ParameterMkfsOptions: "-F /dev/ubda"}), []string{v1alpha1.ParameterMkfsOptions, "-F"}},
		"pool":      {inlineSource("", map[string]string{v1alpha1.ParameterPool: "missing"}), []string{"missing", "not open"}},
	}
	for name, refused := range refusals {
		pod, err := f.CreatePod(f.ctx, cluster.Pod{Namespace: f.namespace, Name: name, Node: node, Source: refused.source})
		f.must(err)
		pods = append(pods, pod)
	}
	for _, pod := range pods {
		event, err := f.AwaitEvent(f.ctx, eventPatience, "Pod", pod.Name, append(refusals[pod.Name].words, "FailedMount")...)
		if err != nil {
			f.Error(err)
		}
		f.Logf("%s: %s", pod.Name, event)
	}
	if names := f.inlineVolumes(node); len(names) != 0 {
		f.Errorf("the registry holds %q", names)
	}
	for _, pod := range pods {
		f.must(f.DeletePod(f.ctx, deletionPatience, pod))
	}
}

// TestInlineEphemeralReclaimed: an inline volume goes although its pod was deleted by force while its agent was down, and although it was
// while its node was without power.
func TestInlineEphemeralReclaimed(t *testing.T) {
	beyondMainJob(t)
	f := newFixture(t, 15*time.Minute)
	node := suite.nodes[0]
	// That one stays, and keeps what it wrote.
	kept := &writer{fixture: f, node: node, name: "kept"}
	kept.pod = f.run(cluster.Pod{Name: kept.name, Node: node, Source: inlineSource("xfs", nil)})
	kept.write("before")
	doomed := func(name string) *corev1.Pod {
		f.Helper()
		pod := f.run(cluster.Pod{Name: name, Node: node, Source: inlineSource("ext4", nil)})
		if names := f.inlineVolumes(node); len(names) != 2 {
			f.Fatalf("the registry holds the inline volumes %q: want two", names)
		}
		return pod
	}

	pod := doomed("with-agent")
	f.kill("while a pod had an inline volume")
	f.must(f.Delete(f.ctx, pod, client.GracePeriodSeconds(0)))
	f.must(suite.deployment.AwaitRollout(f.ctx))
	f.awaitInlineVolumes(node, 1)
	kept.check("after the agent was killed")

	pod = doomed("with-node")
	machine, err := f.Lab.Node(f.ctx, node)
	f.must(err)
	// So that kubelet knows the volume again. What becomes of one that it does not know takes minutes, see TestInlineVolumeForgotten.
	_, err = machine.Output(f.ctx, "sync")
	f.must(err)
	f.must(machine.PowerCut(f.ctx))
	powerless := time.Now()
	f.must(f.Delete(f.ctx, pod, client.GracePeriodSeconds(0)))
	f.must(machine.Boot(f.ctx))
	_, err = suite.deployment.AwaitPool(f.ctx, node)
	f.must(err)
	f.awaitInlineVolumes(node, 1)
	kept.awaitRestart(kept.pod, powerless)
	kept.check("after the power cut")
	f.must(f.DeletePod(f.ctx, deletionPatience, kept.pod))
	f.awaitNoInlineVolumes(node)
}

// TestGenericEphemeral: a claim that is a pod's own (ephemeral.volumeClaimTemplate) is made, and goes, with the pod.
func TestGenericEphemeral(t *testing.T) {
	beyondMainJob(t)
	t.Parallel()
	f := newFixture(t, 8*time.Minute)
	pod := f.run(cluster.Pod{Name: "generic", Source: &corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{
		VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: ptr.To(classExt4),
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(64*mebibyte, resource.BinarySI)}},
		}},
	}}})
	f.shell(pod, "echo content >"+cluster.MountPath+"/file; sync "+cluster.MountPath+"/file")
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "generic-data"}}
	handle, err := f.AwaitBound(f.ctx, bindPatience, claim)
	f.must(err)
	f.must(f.DeletePod(f.ctx, deletionPatience, pod))
	for _, object := range []client.Object{claim, &v1alpha1.ThinVolume{ObjectMeta: metav1.ObjectMeta{Name: handle}}} {
		f.must(f.AwaitGone(f.ctx, deletionPatience, object))
	}
}

// expectNoObjects: no ThinVolume has one of the names.
func (f *fixture) expectNoObjects(names []string) {
	f.Helper()
	for _, name := range names {
		volume := &v1alpha1.ThinVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := f.Get(f.ctx, client.ObjectKeyFromObject(volume), volume); !apierrors.IsNotFound(err) {
			f.Errorf("ThinVolume %s: %v: want none", name, err)
		}
	}
}

// inlineVolumes are the names, which kubelet makes of a hash, of the inline volumes in the registry of a node's pool.
func (f *fixture) inlineVolumes(node string) []string {
	f.Helper()
	names, err := inlineVolumes(f.ctx, node)
	f.must(err)
	return names
}

func inlineVolumes(ctx context.Context, node string) ([]string, error) {
	names, err := suite.deployment.RegistryVolumes(ctx, node)
	var inline []string
	for _, name := range names {
		if strings.HasPrefix(name, "csi-") {
			inline = append(inline, name)
		}
	}
	return inline, err
}

func (f *fixture) awaitNoInlineVolumes(node string) {
	f.Helper()
	f.awaitInlineVolumes(node, 0)
}

// reclaimPatience is for kubelet, which tries to unpublish a volume whose driver was not there at ever longer intervals, of up to two
// minutes; and for what the agent does where kubelet does not.
const reclaimPatience = 5 * time.Minute

func (f *fixture) awaitInlineVolumes(node string, count int) {
	f.Helper()
	f.must(cluster.Await(f.ctx, reclaimPatience, fmt.Sprintf("%d inline volumes on %s", count, node), func(ctx context.Context) (string, error) {
		names, err := inlineVolumes(ctx, node)
		if err != nil {
			return err.Error(), nil // the agent may just be starting
		}
		if len(names) != count {
			return fmt.Sprintf("there are %q", names), nil
		}
		return "", nil
	}))
}

// awaitInlineBytes waits until the node's pool says what its inline volumes take.
func (f *fixture) awaitInlineBytes(node string, bytes int64) {
	f.Helper()
	pool := &v1alpha1.NodeThinPool{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeThinPoolName(v1alpha1.DefaultPoolName, node)}}
	f.must(f.AwaitObject(f.ctx, time.Minute, pool, fmt.Sprintf("with inline volumes of %d bytes", bytes), func() string {
		if got := quantity(pool.Status.InlineVolumeBytes); got != bytes {
			return fmt.Sprintf("they have %d", got)
		}
		return ""
	}))
}
