package deployment

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/lab"
)

// poolPatience is how long a node may take to make a pool of its disk, or to reopen it after a boot.
const poolPatience = 4 * time.Minute

// Pool is the ThinPool on each node's raw disk.
func Pool() *v1alpha1.ThinPool {
	return &v1alpha1.ThinPool{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.DefaultPoolName},
		Spec: v1alpha1.ThinPoolSpec{
			PoolSettings: v1alpha1.PoolSettings{Source: v1alpha1.PoolSource{Devices: []string{lab.PoolDevice}}},
		},
	}
}

func (d *Deployment) ensurePool(ctx context.Context) error {
	if err := d.cluster.Create(ctx, Pool()); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return d.AwaitPools(ctx)
}

// AwaitPools waits until the pool of every node is ready and admits volumes.
func (d *Deployment) AwaitPools(ctx context.Context) error {
	nodes, err := d.cluster.Lab.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if _, err := d.AwaitPool(ctx, node.Name); err != nil {
			return err
		}
	}
	// The controller counts a node only while its agent is ready.
	pool := Pool()
	return d.cluster.AwaitObject(ctx, poolPatience, pool, "ready on all nodes", func() string {
		if int(pool.Status.ReadyNodes) < len(nodes) {
			return fmt.Sprintf("it is ready on %d of %d", pool.Status.ReadyNodes, len(nodes))
		}
		return ""
	})
}

// AwaitPool waits until a node's pool is ready and admits volumes.
func (d *Deployment) AwaitPool(ctx context.Context, node string) (*v1alpha1.NodeThinPool, error) {
	pool := &v1alpha1.NodeThinPool{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.NodeThinPoolName(v1alpha1.DefaultPoolName, node)}}
	err := d.cluster.AwaitObject(ctx, poolPatience, pool, "ready", func() string {
		for _, condition := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionAdmitting} {
			if !meta.IsStatusConditionTrue(pool.Status.Conditions, condition) {
				return fmt.Sprintf("condition %s is not True: %+v", condition, pool.Status.Conditions)
			}
		}
		return ""
	})
	return pool, err
}

// NodePod is the name of the driver's pod on a node.
func (d *Deployment) NodePod(ctx context.Context, node string) (string, error) {
	output, err := d.cluster.Kubectl(ctx, "--namespace", Namespace, "get", "pods",
		"--field-selector", "spec.nodeName="+node+",status.phase=Running",
		"--selector", "app.kubernetes.io/component=node", "--output", "jsonpath={.items[*].metadata.name}")
	if err != nil {
		return "", err
	}
	if output == "" {
		return "", fmt.Errorf("no pod of the driver runs on %s", node)
	}
	return output, nil
}

// ConditionMessage is the message of an object's condition, or empty.
func ConditionMessage(conditions []metav1.Condition, kind string) string {
	if condition := meta.FindStatusCondition(conditions, kind); condition != nil {
		return condition.Message
	}
	return ""
}
