//go:build kernel

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/confinedpath"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	nodecsi "github.com/csi-dm/csi-dm/pkg/node/csi"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

const (
	// killedVariable holds the job of a test binary that was started to be killed, as JSON.
	killedVariable = "CSI_DM_AGENT_KILLED"
	killedVolume   = "pvc-killed"
	killedContent  = "written before the kill"
	// inBackground is a failpoint that a goroutine of the pool comes by, whatever is asked of it at that time.
	inBackground = "commit: journal folded"
)

// killPlace is a place in a step: a failpoint of the engine, or before or after a call of it.
type killPlace struct{ Step, Name string }

func (p killPlace) String() string { return p.Step + ", " + p.Name }

// killedJob is what a process does until it dies or is through.
type killedJob struct {
	Config  thinpool.Config
	Kubelet string
	// Size of the volume in bytes. No two lives have the same: each needs a base of its own.
	Size int64
	// From is the number of the first step.
	From int
	// ThinID is what the ThinVolume's status has, once it was made.
	ThinID *int64
	// Kill is where the process kills itself; empty: nowhere.
	Kill killPlace
}

func (j *killedJob) staging() string { return filepath.Join(j.Kubelet, "staging") }
func (j *killedJob) target() string  { return filepath.Join(j.Kubelet, "pod", "mount") }

// killedFact is what a process says: that it came to a place, or that a step is acknowledged.
type killedFact struct {
	At     killPlace
	Done   bool
	ThinID *int64
}

// lifeSteps are a volume's life, each what kubelet or the API server asks for again if it is not acknowledged.
var lifeSteps = []struct {
	name string
	run  func(ctx context.Context, p *killedProcess) error
}{
	{"create", func(ctx context.Context, p *killedProcess) error { return p.reconcile(ctx) }},
	{"stage", func(ctx context.Context, p *killedProcess) error {
		_, err := p.node.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{VolumeId: killedVolume, StagingTargetPath: p.staging(), VolumeCapability: killedCapability()})
		return err
	}},
	{"publish", func(ctx context.Context, p *killedProcess) error {
		_, err := p.node.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
			VolumeId: killedVolume, StagingTargetPath: p.staging(), TargetPath: p.target(), VolumeCapability: killedCapability(),
		})
		return err
	}},
	{"write", func(_ context.Context, p *killedProcess) error {
		p.reached("before the fsync")
		return writeDurably(filepath.Join(p.target(), "file"), killedContent)
	}},
	{"read", func(_ context.Context, p *killedProcess) error {
		p.reached("before the read")
		content, err := os.ReadFile(filepath.Join(p.target(), "file"))
		if err == nil && string(content) != killedContent {
			err = fmt.Errorf("the file holds %q", content)
		}
		return err
	}},
	{"unpublish", func(ctx context.Context, p *killedProcess) error {
		p.reached("before the call")
		_, err := p.node.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: killedVolume, TargetPath: p.target()})
		return err
	}},
	{"unstage", func(ctx context.Context, p *killedProcess) error {
		_, err := p.node.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: killedVolume, StagingTargetPath: p.staging()})
		return err
	}},
	{"delete", func(ctx context.Context, p *killedProcess) error {
		if err := p.client.Delete(ctx, &v1alpha1.ThinVolume{ObjectMeta: metav1.ObjectMeta{Name: killedVolume}}); err != nil {
			return err
		}
		if err := p.reconcile(ctx); err != nil {
			return err
		}
		if err := p.client.Get(ctx, types.NamespacedName{Name: killedVolume}, &v1alpha1.ThinVolume{}); client.IgnoreNotFound(err) != nil || err == nil {
			return fmt.Errorf("the object is there still (%w)", err)
		}
		return nil
	}},
}

func killedCapability() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: "ext4"}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	}
}

func TestMain(m *testing.M) {
	text := os.Getenv(killedVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var job killedJob
	if err := errors.Join(json.Unmarshal([]byte(text), &job), job.run()); err != nil {
		fmt.Fprintln(os.Stderr, "process:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// killedProcess is an agent and the CSI service on one pool.
type killedProcess struct {
	killedJob
	client  client.Client
	volumes *volumeReconciler
	node    *nodecsi.Node

	mu   sync.Mutex
	step string // empty between two steps
}

// reached is called at each place: the process says that it came there, or ends.
func (p *killedProcess) reached(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.step == "" || name == inBackground {
		return
	}
	at := killPlace{p.step, name}
	if at == p.Kill {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	p.say(killedFact{At: at})
}

func (p *killedProcess) say(fact killedFact) {
	line, err := json.Marshal(fact)
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.Write(append(line, '\n'))
}

func (j *killedJob) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p := &killedProcess{killedJob: *j}
	for _, directory := range []string{j.staging(), filepath.Dir(j.target())} {
		if err := os.MkdirAll(directory, 0o750); err != nil {
			return err
		}
	}
	thinpool.SetFailpoint(p.reached)
	dm, err := devicemapper.Open()
	if err != nil {
		return err
	}
	set := pools.NewSet(func(ctx context.Context, config thinpool.Config) (pools.Pool, error) {
		pool, err := thinpool.Open(ctx, dm, config)
		return &watchedPool{pool, p}, err
	})
	pool, _, err := set.Open(ctx, j.Config)
	if err != nil {
		return err
	}
	status, err := pool.Status(ctx)
	if err != nil {
		return err
	}
	if err := p.serve(ctx, set, status.PoolID); err != nil {
		return err
	}
	for _, step := range lifeSteps[j.From:] {
		p.begin(step.name)
		if err := step.run(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		p.reached("before the answer")
		p.begin("")
		p.say(killedFact{Done: true, ThinID: p.thinID(ctx)})
	}
	return set.Close()
}

func (p *killedProcess) begin(step string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step = step
}

// serve makes the reconciler and the service. The API server has the volume's object, in the state that was written last.
func (p *killedProcess) serve(ctx context.Context, set *pools.Set, poolID string) error {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	owner := readyPool(func(pool *v1alpha1.NodeThinPool) { pool.Status.PoolID = poolID })
	volume := &v1alpha1.ThinVolume{
		ObjectMeta: metav1.ObjectMeta{Name: killedVolume, Generation: 1, Finalizers: []string{v1alpha1.VolumeFinalizer}},
		Spec:       v1alpha1.ThinVolumeSpec{NodeName: testNode, PoolName: "fast", Capacity: *resource.NewQuantity(p.Size, resource.BinarySI), FSType: "ext4"},
	}
	if p.ThinID != nil {
		volume.Status.ThinID, volume.Status.PoolID = p.ThinID, poolID
	}
	p.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(owner, volume).
		WithStatusSubresource(&v1alpha1.NodeThinPool{}, &v1alpha1.ThinVolume{}).Build()
	p.volumes = &volumeReconciler{nodeName: testNode, client: p.client, pools: set, queue: &eventQueue{}, refreshPool: func(string) {}}
	root, err := confinedpath.OpenRoot(p.Kubelet)
	if err != nil {
		return err
	}
	p.node, err = nodecsi.New(ctx, nodecsi.Config{NodeName: testNode, Pools: set, Kubelet: root})
	return err
}

func (p *killedProcess) reconcile(ctx context.Context) error {
	_, err := p.volumes.Reconcile(ctx, reconcile.Request{NamespacedName: types.NamespacedName{Name: killedVolume}})
	return err
}

func (p *killedProcess) thinID(ctx context.Context) *int64 {
	volume := &v1alpha1.ThinVolume{}
	if err := p.client.Get(ctx, types.NamespacedName{Name: killedVolume}, volume); err != nil {
		return nil
	}
	return volume.Status.ThinID
}

// watchedPool is a pool whose calls for single volumes are places, before and after them.
type watchedPool struct {
	*thinpool.Pool
	process *killedProcess
}

func (w *watchedPool) CreateVolume(ctx context.Context, spec thinpool.VolumeSpec) (thinpool.Volume, error) {
	w.process.reached("before CreateVolume")
	defer w.process.reached("after CreateVolume")
	return w.Pool.CreateVolume(ctx, spec)
}

func (w *watchedPool) DeleteVolume(ctx context.Context, name string) error {
	w.process.reached("before DeleteVolume")
	defer w.process.reached("after DeleteVolume")
	return w.Pool.DeleteVolume(ctx, name)
}

func (w *watchedPool) Activate(ctx context.Context, name string) (string, error) {
	w.process.reached("before Activate")
	defer w.process.reached("after Activate")
	return w.Pool.Activate(ctx, name)
}

func (w *watchedPool) Deactivate(ctx context.Context, name string) error {
	w.process.reached("before Deactivate")
	defer w.process.reached("after Deactivate")
	return w.Pool.Deactivate(ctx, name)
}

func writeDurably(path, content string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = file.WriteString(content)
	return errors.Join(err, file.Sync(), file.Close())
}
