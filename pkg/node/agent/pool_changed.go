package agent

// PoolChanged has a pool looked at soon that somebody else than the agent has changed: an admin repaired or grew it.
func (a *Agent) PoolChanged(pool string) { a.pools.refresh(pool) }
