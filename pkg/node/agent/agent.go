package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/monitor"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
)

// Config is what the agent works with.
type Config struct {
	NodeName string
	// API says how to reach the API server.
	API   *rest.Config
	Pools *pools.Set
	// Monitor tells what is wrong with them and their volumes.
	Monitor *monitor.Monitor
	// StateFile remembers the pools' settings, on storage that outlives the process and the node's boot.
	StateFile string
	// LoopbackDirectory is where the files of loopback pools lie. Empty: there can be none.
	LoopbackDirectory string
}

// Agent serves the objects of one node. Make it with New, then OpenRemembered, Run, and Wait at the end.
type Agent struct {
	config     Config
	manager    manager.Manager
	remembered *remembered
	watchers   *watchers

	pools   *poolReconciler
	volumes *reconciler[*v1alpha1.ThinVolume]

	// opening is the attempts that OpenRemembered began.
	opening sync.WaitGroup
}

// New makes an agent whose goroutines end with ctx. It does not ask the API server anything yet.
func New(ctx context.Context, config Config) (*Agent, error) {
	if config.NodeName == "" || config.API == nil || config.Pools == nil || config.Monitor == nil {
		return nil, fmt.Errorf("the agent needs a node name, an API server, pools and a monitor")
	}
	remembered, err := loadRemembered(config.StateFile)
	if err != nil {
		return nil, err
	}
	manager, err := newManager(ctx, config)
	if err != nil {
		return nil, err
	}
	a := &Agent{config: config, manager: manager, remembered: remembered}
	client := manager.GetClient()
	a.pools = &poolReconciler{
		nodeName: config.NodeName, client: client, pools: config.Pools, remembered: remembered,
		directories: directories{loopback: config.LoopbackDirectory}, queue: &eventQueue{},
	}
	finder := poolFinder{nodeName: config.NodeName, client: client, pools: config.Pools}
	a.volumes = newReconciler(volumes{}, finder, a.pools.refresh)
	snapshots := newReconciler(snapshots{}, finder, a.pools.refresh)
	groups := newReconciler(groups{}, finder, a.pools.refresh)
	a.pools.volumes, a.pools.snapshots, a.pools.groups = a.volumes.queue, snapshots.queue, groups.queue
	a.watchers = newWatchers(ctx, func(pool string) { a.pools.queue.add(v1alpha1.NodeThinPoolName(pool, config.NodeName)) })
	a.pools.watchers = a.watchers
	return a, errors.Join(
		a.pools.register(manager), a.volumes.register(manager), snapshots.register(manager), groups.register(manager),
		manager.Add(&usageReporter{client: client, pools: config.Pools}),
		manager.Add(&healthReporter{client: client, pools: config.Pools, monitor: config.Monitor}),
	)
}

// Run serves the node's objects until ctx ends. An API server that does not answer is waited for.
func (a *Agent) Run(ctx context.Context) error { return a.manager.Start(ctx) }

// Wait returns when all that the agent began has ended. The context that New was given must have ended before.
func (a *Agent) Wait() {
	a.opening.Wait()
	a.watchers.wait()
}

// OrphanedVolumes tells how many volumes without an object a pool was found to hold, if it was looked at.
func (a *Agent) OrphanedVolumes(pool string) (count int, known bool) {
	return a.pools.orphans.get(pool)
}

// VolumeReleased says that a volume is not in use any more: one whose deletion waited for that goes on. It does not block.
func (a *Agent) VolumeReleased(volume string) { a.volumes.queue.add(volume) }
