//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/e2e/deployment"
)

// TestInstall: the chart, installed by helm, makes a pool of every node's raw disk, and says so where an admin looks.
func TestInstall(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	identities := map[string]string{}
	for _, name := range suite.nodes {
		pool, err := suite.deployment.AwaitPool(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := identities[pool.Status.PoolID]; taken || pool.Status.PoolID == "" {
			t.Errorf("pool on %s has the identity %q, that on %s has it, too", name, pool.Status.PoolID, other)
		}
		identities[pool.Status.PoolID] = name
		checkPoolFigures(ctx, t, name, pool)
		checkRegistered(ctx, t, name)
	}
	table, err := suite.Kubectl(ctx, "get", "nodethinpools")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("kubectl get nodethinpools\n%s", table)
	status, err := suite.Tool(ctx, "helm", "list", "--namespace", deployment.Namespace, "--deployed")
	if err != nil || !strings.Contains(status, deployment.Release) {
		t.Errorf("helm list: %v\n%s", err, status)
	}
}

// checkPoolFigures holds what the object says against the node's disk and kernel.
func checkPoolFigures(ctx context.Context, t *testing.T, name string, pool *v1alpha1.NodeThinPool) {
	t.Helper()
	node, err := suite.Lab.Node(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := suite.PoolBlocks(ctx, name, pool.Status.DeviceName)
	if err != nil {
		t.Fatal(err)
	}
	if got := quantity(pool.Status.Data.Total); got != blocks.Total*blocks.Size {
		t.Errorf("%s: status.data.total is %d, the kernel has %d blocks of %d bytes", name, got, blocks.Total, blocks.Size)
	}
	// Metadata, its spare and the registry take their part; a pool that leaves a fifth of the disk unused is not one.
	if data := quantity(pool.Status.Data.Total); data > node.PoolDiskBytes || data < node.PoolDiskBytes/5*4 {
		t.Errorf("%s: data space of %d bytes on a disk of %d bytes", name, data, node.PoolDiskBytes)
	}
	if got := quantity(pool.Status.BlockSize); got != blocks.Size {
		t.Errorf("%s: status.blockSize is %d, the kernel's is %d", name, got, blocks.Size)
	}
	if pool.Status.Mode != v1alpha1.PoolModeReadWrite {
		t.Errorf("%s: the pool's mode is %q", name, pool.Status.Mode)
	}
}

// checkRegistered: kubelet knows the driver and its topology.
func checkRegistered(ctx context.Context, t *testing.T, node string) {
	t.Helper()
	csiNode := &storagev1.CSINode{}
	if err := suite.Get(ctx, client.ObjectKey{Name: node}, csiNode); err != nil {
		t.Fatal(err)
	}
	for _, driver := range csiNode.Spec.Drivers {
		if driver.Name == v1alpha1.DriverName {
			if len(driver.TopologyKeys) != 1 || driver.TopologyKeys[0] != v1alpha1.TopologyKey {
				t.Errorf("%s: topology keys %q, want %q", node, driver.TopologyKeys, v1alpha1.TopologyKey)
			}
			return
		}
	}
	t.Errorf("%s: the driver is not among those of its CSINode: %+v", node, csiNode.Spec.Drivers)
}

func quantity(q *resource.Quantity) int64 {
	if q == nil {
		return 0
	}
	return q.Value()
}
