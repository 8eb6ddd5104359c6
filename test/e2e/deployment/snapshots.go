package deployment

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/test/lab/image"
)

//go:embed snapshotcontroller.yaml
var snapshotController string

// snapshotKinds is the module whose zip has the kinds of snapshots; the version is the one that the lab's csi-snapshotter is built
// with.
const snapshotKinds = "github.com/kubernetes-csi/external-snapshotter/client/v8"

// installSnapshots gives the cluster what a cluster with snapshots has: their kinds, and the snapshot-controller. It comes before
// the chart, which looks whether the kinds are there.
func (d *Deployment) installSnapshots(ctx context.Context) error {
	folder, err := d.moduleFolder(ctx, snapshotKinds)
	if err != nil {
		return err
	}
	kinds, err := filepath.Glob(filepath.Join(folder, "config", "crd", "*snapshot.storage.k8s.io_*.yaml"))
	if err != nil || len(kinds) == 0 {
		return fmt.Errorf("no kinds of snapshots in %s: %w", folder, err)
	}
	arguments := []string{"--server-side"}
	for _, file := range kinds {
		arguments = append(arguments, "--filename", file)
	}
	if _, err := d.cluster.Kubectl(ctx, append([]string{"apply"}, arguments...)...); err != nil {
		return err
	}
	wait := append([]string{"wait", "--for=condition=Established", "--timeout=60s"}, arguments[1:]...)
	if _, err := d.cluster.Kubectl(ctx, wait...); err != nil {
		return err
	}
	if _, err := d.cluster.Apply(ctx, strings.ReplaceAll(snapshotController, "SNAPSHOT_CONTROLLER", image.SnapshotController)); err != nil {
		return err
	}
	controller := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "snapshot-controller"}}
	return d.cluster.AwaitObject(ctx, 3*time.Minute, controller, "available", func() string { return deploymentMissing(*controller) })
}

// moduleFolder is where the source of a module is that the lab's sidecars are built with.
func (d *Deployment) moduleFolder(ctx context.Context, module string) (string, error) {
	run := func(arguments ...string) (string, error) {
		command := exec.CommandContext(ctx, "go", arguments...)
		command.Dir = filepath.Join(d.source, "test", "lab", "tools", "csi-sidecars")
		command.Env = append(os.Environ(), "GOFLAGS=-mod=mod")
		output, err := command.Output()
		if err != nil {
			return "", fmt.Errorf("go %s: %w", strings.Join(arguments, " "), err)
		}
		return strings.TrimSpace(string(output)), nil
	}
	if _, err := run("mod", "download", module); err != nil {
		return "", err
	}
	return run("list", "-m", "-f", "{{.Dir}}", module)
}
