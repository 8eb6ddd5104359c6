package agent

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// These fakes prove nothing of device mapper or of a real API server: they answer with errors that a real one gives only
// now and then. The kernel tests and the cluster's tests show that things work.

// scriptedPool does what a test tells it.
type scriptedPool struct {
	pools.Pool

	mu        sync.Mutex
	status    thinpool.Status
	statusErr error
	createErr error
	growErr   error
	deleteErr error
	// reconfigureErr is what Reconfigure ends with.
	reconfigureErr error
	shutdown       error
	usage          thinpool.PoolUsage
	usageErr       error
	created        map[string]thinpool.Volume
	now            time.Time
	held           time.Duration
	creates        int
	grows          int
	deletes        int
	down           bool
	lost           []string
}

func (p *scriptedPool) CreateVolume(_ context.Context, spec thinpool.VolumeSpec) (thinpool.Volume, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.creates++
	if p.createErr != nil {
		return thinpool.Volume{}, &thinpool.Error{Op: "create", Pool: "fast", Volume: spec.Name, Err: p.createErr}
	}
	if volume, ok := p.created[spec.Name]; ok {
		return volume, nil
	}
	volume := thinpool.Volume{Name: spec.Name, ThinID: uint32(len(p.created) + 7), Size: spec.Size, Format: spec.Format, Source: spec.Source, Created: p.now}
	if source, ok := p.created[spec.Source]; ok && volume.Size == 0 {
		volume.Size = source.Size
	}
	p.created[spec.Name] = volume
	return volume, nil
}

func (p *scriptedPool) SnapshotGroup(ctx context.Context, members []thinpool.GroupMember) (thinpool.Group, error) {
	group := thinpool.Group{Held: p.held}
	for _, member := range members {
		snapshot, err := p.CreateVolume(ctx, thinpool.VolumeSpec{Name: member.Name, Source: member.Source})
		if err != nil {
			return thinpool.Group{}, err
		}
		group.Volumes = append(group.Volumes, snapshot)
	}
	return group, nil
}

func (p *scriptedPool) GrowVolume(_ context.Context, name string, size int64) (thinpool.Volume, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grows++
	if p.growErr != nil {
		return thinpool.Volume{}, &thinpool.Error{Op: "grow", Pool: "fast", Volume: name, Err: p.growErr}
	}
	volume := p.created[name]
	volume.Size = size
	p.created[name] = volume
	return volume, nil
}

func (p *scriptedPool) DeleteVolume(_ context.Context, name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deletes++
	if p.deleteErr == nil {
		delete(p.created, name)
	}
	return p.deleteErr
}

func (p *scriptedPool) Volume(name string) (thinpool.Volume, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if volume, ok := p.created[name]; ok {
		return volume, nil
	}
	return thinpool.Volume{}, &thinpool.Error{Op: "find", Pool: "fast", Volume: name, Err: thinpool.ErrVolumeNotFound}
}

func (p *scriptedPool) Volumes() []thinpool.Volume {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.created))
}

func (p *scriptedPool) Status(context.Context) (thinpool.Status, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status, p.statusErr
}

func (p *scriptedPool) Reconfigure(context.Context, thinpool.Config) error { return p.reconfigureErr }

func (p *scriptedPool) Watch(ctx context.Context, _ time.Duration, _ func()) error {
	<-ctx.Done()
	return ctx.Err()
}

func (p *scriptedPool) Shutdown(context.Context) error {
	p.down = p.shutdown == nil
	return p.shutdown
}

// cluster is the objects, with a count of what is written.
type cluster struct {
	client.Client
	t            *testing.T
	statusWrites int
	writes       int
}

func newCluster(t *testing.T, objects ...client.Object) *cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t}
	c.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.NodeThinPool{}, &v1alpha1.ThinVolume{}, &v1alpha1.ThinSnapshot{}, &v1alpha1.ThinGroupSnapshot{}).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, inner client.Client, name string, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
				c.statusWrites++
				return inner.SubResource(name).Patch(ctx, object, patch, options...)
			},
			Patch: func(ctx context.Context, inner client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
				c.writes++
				return inner.Patch(ctx, object, patch, options...)
			},
		}).Build()
	return c
}

func (c *cluster) pool(name string) *v1alpha1.NodeThinPool {
	c.t.Helper()
	object := &v1alpha1.NodeThinPool{}
	if err := c.Get(context.Background(), types.NamespacedName{Name: name}, object); client.IgnoreNotFound(err) != nil {
		c.t.Fatal(err)
	} else if err != nil {
		return nil
	}
	return object
}

func (c *cluster) volume(name string) *v1alpha1.ThinVolume {
	c.t.Helper()
	object := &v1alpha1.ThinVolume{}
	if err := c.Get(context.Background(), types.NamespacedName{Name: name}, object); client.IgnoreNotFound(err) != nil {
		c.t.Fatal(err)
	} else if err != nil {
		return nil
	}
	return object
}

const (
	testNode = "node-1"
	testPool = "fast.node-1"
	testID   = "0123456789abcdef0123456789abcdef"
)

func poolObject(change func(*v1alpha1.NodeThinPool)) *v1alpha1.NodeThinPool {
	object := &v1alpha1.NodeThinPool{
		ObjectMeta: metav1.ObjectMeta{Name: testPool, Generation: 1, Finalizers: []string{v1alpha1.PoolFinalizer}},
		Spec: v1alpha1.NodeThinPoolSpec{NodeName: testNode, PoolName: "fast", PoolSettings: v1alpha1.PoolSettings{
			Source: v1alpha1.PoolSource{Devices: []string{"/dev/vdb"}}, BlockSize: "64Ki", MinFreeSpace: "10%",
		}},
	}
	if change != nil {
		change(object)
	}
	return object
}

// readyPool is a pool's object after its first status.
func readyPool(change func(*v1alpha1.NodeThinPool)) *v1alpha1.NodeThinPool {
	return poolObject(func(p *v1alpha1.NodeThinPool) {
		p.Status.PoolID = testID
		p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady}}
		if change != nil {
			change(p)
		}
	})
}

func healthy() thinpool.Status {
	return thinpool.Status{
		PoolID: testID, DeviceName: "csi-dm-x-pool", BlockSize: 64 << 10, Mode: thinpool.ModeReadWrite, Admitting: true,
		Data:                thinpool.Space{Total: 1000 << 20, Used: 100 << 20, State: thinpool.SpaceOK},
		Metadata:            thinpool.Space{Total: 100 << 20, Used: 1 << 20, State: thinpool.SpaceOK},
		SnapshotBudget:      1 << 24,
		DeviceMapperVersion: "4.47.0", ThinPoolVersion: "1.22.0",
	}
}

// harness is the reconcilers on a fake cluster, with a pool that a test scripts.
type harness struct {
	*cluster
	set     *pools.Set
	pool    *scriptedPool
	openErr error
	opens   int
	pools   *poolReconciler
	volumes *reconciler[*v1alpha1.ThinVolume]
	// snapshots is the third.
	snapshots *reconciler[*v1alpha1.ThinSnapshot]
	groups    *reconciler[*v1alpha1.ThinGroupSnapshot]
}

func newHarness(t *testing.T, objects ...client.Object) *harness {
	t.Helper()
	h := &harness{cluster: newCluster(t, objects...), pool: &scriptedPool{status: healthy(), created: map[string]thinpool.Volume{}}}
	h.set = pools.NewSet(func(context.Context, thinpool.Config) (pools.Pool, error) {
		h.opens++
		if h.openErr != nil {
			return nil, h.openErr
		}
		return h.pool, nil
	})
	remembered, err := loadRemembered(filepath.Join(t.TempDir(), "state", "pools.json"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	watchers := newWatchers(ctx, func(string) {})
	t.Cleanup(func() { cancel(); watchers.wait() })
	h.pools = &poolReconciler{
		nodeName: testNode, client: h.cluster, pools: h.set, remembered: remembered, watchers: watchers,
		queue: &eventQueue{},
	}
	finder := poolFinder{nodeName: testNode, client: h.cluster, pools: h.set}
	h.volumes = newReconciler(volumes{}, finder, h.pools.refresh)
	h.snapshots = newReconciler(snapshots{}, finder, h.pools.refresh)
	h.groups = newReconciler(groups{}, finder, h.pools.refresh)
	h.pools.volumes, h.pools.snapshots, h.pools.groups = h.volumes.queue, h.snapshots.queue, h.groups.queue
	return h
}

func (h *harness) reconcilePool() (reconcile.Result, error) {
	return h.pools.Reconcile(context.Background(), reconcile.Request{NamespacedName: types.NamespacedName{Name: testPool}})
}

func (h *harness) reconcileVolume(name string) (reconcile.Result, error) {
	return h.volumes.Reconcile(context.Background(), reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
}

// openPool has the pool open, as after its first reconcile.
func (h *harness) openPool() {
	h.t.Helper()
	if _, _, err := h.set.Open(context.Background(), thinpool.Config{Name: "fast"}); err != nil {
		h.t.Fatal(err)
	}
}
