package agent

import "github.com/csi-dm/csi-dm/api/v1alpha1"

// PoolChanged has a pool looked at soon that somebody else than the agent has changed: an admin repaired or grew it.
func (a *Agent) PoolChanged(pool string) { a.pools.refresh(pool) }

// InlineVolumesChanged has a pool's status be written that holds other inline volumes than before: the cluster counts them by what
// it says. It does not block, and nobody waits for it.
func (a *Agent) InlineVolumesChanged(pool string) {
	a.pools.queue.add(v1alpha1.NodeThinPoolName(pool, a.config.NodeName))
}
