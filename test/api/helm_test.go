//go:build e2e

package api

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// helm is a cluster of its own, without anything of csi-dm, and helm to install the chart into it.
type helm struct {
	*testing.T
	client.Client
	kubeconfig string
}

func newHelm(t *testing.T) *helm {
	t.Helper()
	folder := t.TempDir()
	environment, err := startServer(folder, envtest.CRDInstallOptions{})
	must(t, err)
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	h := &helm{T: t, kubeconfig: filepath.Join(folder, "kubeconfig")}
	must(t, os.WriteFile(h.kubeconfig, environment.KubeConfig, 0o600))
	h.Client, err = client.New(environment.Config, client.Options{Scheme: suite.Scheme()})
	must(t, err)
	return h
}

func (h *helm) run(arguments ...string) (string, error) {
	h.Helper()
	command := exec.CommandContext(h.Context(), suite.helm, append(arguments, "--kubeconfig", h.kubeconfig, "--namespace", namespace)...)
	folder := h.TempDir()
	command.Env = append(os.Environ(), "HELM_CACHE_HOME="+folder, "HELM_CONFIG_HOME="+folder, "HELM_DATA_HOME="+folder)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	err := command.Run()
	return output.String(), err
}

func (h *helm) mustRun(arguments ...string) string {
	h.Helper()
	output, err := h.run(arguments...)
	if err != nil {
		h.Fatalf("helm %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return output
}

func (h *helm) exists(object client.Object) bool {
	h.Helper()
	err := h.Get(h.Context(), client.ObjectKeyFromObject(object), object)
	if client.IgnoreNotFound(err) != nil {
		h.Fatal(err)
	}
	return err == nil
}

// TestHelm: the chart is installed into an empty cluster in one go, pools of the values included; an upgrade reaches the kinds; an
// uninstall takes the driver away and leaves kinds, pools and volumes; installed again, it takes over what is there.
func TestHelm(t *testing.T) {
	h := newHelm(t)
	chart := filepath.Join(suite.repository, "charts", "csi-dm")
	values := filepath.Join(t.TempDir(), "values.yaml")
	must(t, os.WriteFile(values, []byte(`
pools:
  - name: default
    spec: {source: {devices: [/dev/sdx]}}
storageClasses:
  - name: thin
    default: true
    mountOptions: [noatime]
`), 0o600))
	install := []string{"upgrade", "csi-dm", chart, "--install", "--create-namespace", "--values", values}
	notes := h.mustRun(install...)
	if !strings.Contains(notes, "applies these ThinPools: default") {
		t.Errorf("notes:\n%s", notes)
	}
	driver := &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.DriverName}}
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "thin"}}
	agents := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "csi-dm-node"}}
	for _, object := range []client.Object{driver, class, agents} {
		if !h.exists(object) {
			t.Errorf("%T %s was not made", object, object.GetName())
		}
	}
	if prevents := driver.Spec.PreventPodSchedulingIfMissing; prevents == nil || !*prevents {
		t.Errorf("CSIDriver: preventPodSchedulingIfMissing is %v on this Kubernetes", prevents)
	}

	pool := &v1alpha1.ThinPool{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec:       v1alpha1.ThinPoolSpec{PoolSettings: v1alpha1.PoolSettings{Source: v1alpha1.PoolSource{Devices: []string{"/dev/sdx"}}}},
	}
	volume := &v1alpha1.ThinVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-kept", Finalizers: []string{v1alpha1.VolumeFinalizer}},
		Spec:       v1alpha1.ThinVolumeSpec{NodeName: "node", PoolName: "default", Capacity: resource.MustParse("1Gi"), FSType: "ext4"},
	}
	must(t, h.Create(t.Context(), pool))
	must(t, h.Create(t.Context(), volume))

	// An older chart had a kind with less in it: the upgrade brings it up to date.
	kind := crd("thinvolumes.csi-dm.io")
	must(t, h.Patch(t.Context(), kind, merge(`{"spec":{"names":{"shortNames":["old"]}}}`)))
	h.mustRun(append(install, "--set", "logLevel=5", "--force-conflicts")...)
	must(t, h.Get(t.Context(), client.ObjectKeyFromObject(kind), kind))
	if names, _, _ := nestedStrings(kind, "spec", "names", "shortNames"); len(names) != 1 || names[0] != "tv" {
		t.Errorf("after the upgrade the kind's short names are %v", names)
	}
	must(t, h.Get(t.Context(), client.ObjectKeyFromObject(agents), agents))
	if arguments := strings.Join(agents.Spec.Template.Spec.Containers[0].Args, " "); !strings.Contains(arguments, "--v=5") {
		t.Errorf("after the upgrade the agent's arguments are %s", arguments)
	}

	h.mustRun("uninstall", "csi-dm")
	for _, object := range []client.Object{driver, class, agents} {
		if h.exists(object) {
			t.Errorf("%T %s is there after the uninstall", object, object.GetName())
		}
	}
	for _, object := range []client.Object{crd("thinvolumes.csi-dm.io"), crd("thinpools.csi-dm.io"), crd("nodethinpools.csi-dm.io"), pool, volume} {
		if !h.exists(object) || object.GetDeletionTimestamp() != nil {
			t.Errorf("%s did not survive the uninstall", object.GetName())
		}
	}
	h.mustRun(install...)
	if !h.exists(volume) || !h.exists(agents) {
		t.Error("the second install did not take over")
	}
}

// TestDeployedManifests: deploy/csi-dm.yaml can be applied to an empty cluster in one go, every field known.
func TestDeployedManifests(t *testing.T) {
	h := newHelm(t)
	content, err := os.ReadFile(filepath.Join(suite.repository, "deploy", "csi-dm.yaml"))
	must(t, err)
	must(t, applyYAML(t.Context(), h.Client, content))
	if !h.exists(&appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "csi-dm-node"}}) {
		t.Error("the agent's DaemonSet is not there")
	}
}
