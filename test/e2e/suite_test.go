//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/e2e/cluster"
	"github.com/csi-dm/csi-dm/test/e2e/deployment"
	"github.com/csi-dm/csi-dm/test/lab"
)

// keepVariable set to 1 leaves a lab up that the tests brought up.
const keepVariable = "KEEP"

// Classes that every test may use.
const (
	classExt4 = "e2e-ext4"
	classXFS  = "e2e-xfs"
	// classSnapshots is a VolumeSnapshotClass.
	classSnapshots = "e2e-snapshots"
)

// suite is what all tests share: it is made before the first and not changed.
var suite struct {
	*cluster.Cluster
	deployment *deployment.Deployment
	// recorder is the program for package exectrace.
	recorder string
	// nodes are the names of the lab's nodes.
	nodes []string
	// baseline is what each node's kernel holds when no test runs.
	baseline map[string]cluster.NodeState
}

func TestMain(m *testing.M) {
	log.SetLogger(klog.Background())
	status, err := runSuite(m)
	if err != nil {
		fmt.Fprintf(os.Stderr, "end-to-end tests: %v\n", err)
		status = max(status, 1)
	}
	os.Exit(status)
}

func runSuite(m *testing.M) (status int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	_, attachErr := lab.Attach(ctx)
	l, err := lab.Up(ctx, lab.Options{Progress: os.Stderr})
	if err != nil {
		return 1, err
	}
	if errors.Is(attachErr, lab.ErrNotRunning) && os.Getenv(keepVariable) != "1" {
		defer func() { err = errors.Join(err, l.Down(context.WithoutCancel(ctx))) }()
	}
	if err := prepare(ctx, l); err != nil {
		if suite.Cluster != nil {
			fmt.Fprintln(os.Stderr, suite.Diagnose(ctx, "", deployment.Namespace))
		}
		return 1, err
	}
	status = m.Run()
	return status, tidy(context.WithoutCancel(ctx))
}

func prepare(ctx context.Context, l *lab.Lab) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	var err error
	if suite.Cluster, err = cluster.Connect(l); err != nil {
		return err
	}
	if suite.deployment, err = deployment.New(ctx, suite.Cluster, os.Stderr); err != nil {
		return err
	}
	if suite.recorder, err = suite.deployment.BuildProgram(ctx, "e2e-recorder", "./test/e2e/exectrace/recorder"); err != nil {
		return err
	}
	if err := powerOn(ctx); err != nil {
		return err
	}
	nodes, err := l.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		suite.nodes = append(suite.nodes, node.Name)
	}
	if err := suite.deployment.Ensure(ctx); err != nil {
		return err
	}
	if err := removeLeftovers(ctx); err != nil {
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	for name, fsType := range map[string]string{classExt4: "ext4", classXFS: "xfs"} {
		class := cluster.Class{Name: name, Parameters: map[string]string{v1alpha1.ParameterFSType: fsType}}
		if err := suite.EnsureClass(ctx, class); err != nil {
			return err
		}
	}
	if err := suite.EnsureSnapshotClass(ctx, classSnapshots); err != nil {
		return err
	}
	return takeBaseline(ctx)
}

// powerOn boots nodes that an earlier run left without power.
func powerOn(ctx context.Context) error {
	nodes, err := suite.Lab.Nodes(ctx)
	if err != nil {
		return err
	}
	if len(nodes) < 2 {
		return fmt.Errorf("the lab has %d nodes: the tests need 2", len(nodes))
	}
	for _, node := range nodes {
		if !node.Running {
			if err := node.Boot(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// namespaceLabel marks the tests' namespaces.
const namespaceLabel = "csi-dm.io/e2e"

func removeLeftovers(ctx context.Context) error {
	var namespaces corev1.NamespaceList
	if err := suite.List(ctx, &namespaces, client.HasLabels{namespaceLabel}); err != nil {
		return err
	}
	for _, namespace := range namespaces.Items {
		if err := suite.EmptyNamespace(ctx, namespace.Name); err != nil {
			return err
		}
	}
	return nil
}

func takeBaseline(ctx context.Context) error {
	suite.baseline = map[string]cluster.NodeState{}
	for _, node := range suite.nodes {
		state, err := suite.InspectNode(ctx, node)
		if err != nil {
			return err
		}
		suite.baseline[node] = state
	}
	return nil
}

// tidy removes the tests' classes and checks that no test left anything in the cluster or on a node.
func tidy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Minute)
	defer cancel()
	var failures []error
	for _, name := range []string{classExt4, classXFS} {
		failures = append(failures, suite.DeleteClass(ctx, name))
	}
	var namespaces corev1.NamespaceList
	failures = append(failures, suite.List(ctx, &namespaces, client.HasLabels{namespaceLabel}))
	for _, namespace := range namespaces.Items {
		volumes, err := suite.NamespaceVolumes(ctx, namespace.Name)
		failures = append(failures, err)
		if len(volumes) != 0 {
			failures = append(failures, fmt.Errorf("%d ThinVolumes of namespace %s are left", len(volumes), namespace.Name))
		}
	}
	for _, node := range suite.nodes {
		failures = append(failures, awaitBaseline(ctx, node))
	}
	return errors.Join(failures...)
}

// awaitBaseline waits until the node's kernel holds no device and no mount beyond the baseline.
func awaitBaseline(ctx context.Context, node string) error {
	return cluster.Await(ctx, time.Minute, "nothing to be left on "+node, func(ctx context.Context) (string, error) {
		state, err := suite.InspectNode(ctx, node)
		if err != nil {
			return err.Error(), nil
		}
		if more := state.Beyond(suite.baseline[node]); !more.Empty() {
			return "there are still " + more.String(), nil
		}
		if less := suite.baseline[node].Beyond(state); !less.Empty() {
			return "missing are " + less.String(), nil
		}
		return "", nil
	})
}
