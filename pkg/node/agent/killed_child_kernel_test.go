//go:build kernel

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/confinedpath"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	nodecsi "github.com/csi-dm/csi-dm/pkg/node/csi"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// killedVariable holds the job of a test binary that was started to be killed, as JSON.
const killedVariable = "CSI_DM_AGENT_KILLED"

// killedJob is what a process does until it dies or is through.
type killedJob struct {
	Config  thinpool.Config
	Kubelet string
	// Size of the volume in bytes. No two lives have the same: each needs a base of its own.
	Size int64
	// From is the number of the first step.
	From int
	// Objects are those of the API server when that step begins.
	Objects killedObjects
	// Kills says for a step at which of its places the process kills itself.
	Kills map[string]string
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
	client    client.Client
	volumes   *reconciler[*v1alpha1.ThinVolume]
	snapshots *reconciler[*v1alpha1.ThinSnapshot]
	node      *nodecsi.Node

	mu   sync.Mutex
	step string // empty between two steps
}

func (j *killedJob) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p := &killedProcess{killedJob: *j}
	if err := p.makeDirectories(); err != nil {
		return err
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
	if err = errors.Join(err, registryFits(status), nothingSuspended()); err != nil {
		return fmt.Errorf("opened: %w", err)
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
		objects, err := p.objects(ctx)
		if err != nil {
			return err
		}
		p.say(killedFact{Done: true, Objects: objects})
	}
	return set.Close()
}

// serve makes the reconcilers and the service.
func (p *killedProcess) serve(ctx context.Context, set *pools.Set, poolID string) error {
	if err := p.startObjects(poolID); err != nil {
		return err
	}
	finder := poolFinder{nodeName: testNode, client: p.client, pools: set}
	p.volumes = newReconciler(volumes{}, finder, func(string) {})
	p.snapshots = newReconciler(snapshots{}, finder, func(string) {})
	root, err := confinedpath.OpenRoot(p.Kubelet)
	if err != nil {
		return err
	}
	p.node, err = nodecsi.New(ctx, nodecsi.Config{NodeName: testNode, Pools: set, Kubelet: root, InlineSizeLimit: 1 << 30})
	return err
}
