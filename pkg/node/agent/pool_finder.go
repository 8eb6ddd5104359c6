package agent

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
)

// poolFinder finds the node's pool for a volume or a snapshot.
type poolFinder struct {
	nodeName string
	client   client.Client
	pools    *pools.Set
}

// find gives the open pool of that name, and its identity. The pool's object must carry that and not be deleted: then nothing
// can exist in a pool that the cluster does not know of. made tells that what is looked for was made before.
func (f poolFinder) find(ctx context.Context, poolName string, made bool) (pools.Pool, string, error) {
	owner, err := f.owner(ctx, poolName)
	if err != nil {
		if client.IgnoreNotFound(err) == nil {
			err = &pools.NotOpenError{Pool: poolName, Cause: errors.New("the node has no such pool")}
		}
		return nil, "", err
	}
	if owner.DeletionTimestamp != nil && !made {
		return nil, "", &pools.NotOpenError{Pool: poolName, Cause: errors.New("it is being deleted")}
	}
	pool, err := f.pools.Get(poolName)
	if err != nil {
		return nil, "", err
	}
	if owner.Status.PoolID == "" {
		return nil, "", &pools.NotOpenError{Pool: poolName}
	}
	if ready := meta.FindStatusCondition(owner.Status.Conditions, v1alpha1.ConditionReady); ready != nil && ready.Reason == v1alpha1.ReasonSourceChanged {
		return nil, "", &pools.NotOpenError{Pool: poolName, Cause: errors.New(ready.Message)}
	}
	return pool, owner.Status.PoolID, nil
}

// neverOpened tells of a pool that it has never been one, so that nothing can be in it; see find.
func (f poolFinder) neverOpened(ctx context.Context, poolName string) bool {
	owner, err := f.owner(ctx, poolName)
	return err == nil && owner.Status.PoolID == ""
}

func (f poolFinder) owner(ctx context.Context, poolName string) (*v1alpha1.NodeThinPool, error) {
	owner := &v1alpha1.NodeThinPool{}
	err := f.client.Get(ctx, types.NamespacedName{Name: v1alpha1.NodeThinPoolName(poolName, f.nodeName)}, owner)
	return owner, err
}
