package csi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// reclaimInterval is how often inline volumes are compared with kubelet's pods.
const reclaimInterval = time.Minute

// ReclaimInline deletes, at once and then every minute until ctx ends, the inline volumes of pods that kubelet has no directory
// for. Kubelet unpublishes a volume before it removes its pod's directory, and makes the directory before it publishes; so such a
// volume is one that it has forgotten: its publication failed for good, or what kubelet had written down was lost with the node's
// power. A pod that is there keeps its volumes, whatever kubelet does about them.
func (n *Node) ReclaimInline(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		n.reclaim(ctx)
		timer.Reset(reclaimInterval)
	}
}

// reclaim looks at all inline volumes once.
func (n *Node) reclaim(ctx context.Context) {
	logger := klog.FromContext(ctx)
	for _, name := range n.config.Pools.Names() {
		pool, err := n.config.Pools.Get(name)
		if err != nil {
			continue // it is looked at when it is open
		}
		reclaimed := false
		for _, volume := range pool.Volumes() {
			if volume.Owner == "" || ctx.Err() != nil {
				continue
			}
			gone, err := n.reclaimVolume(ctx, pool, volume)
			switch {
			case err != nil:
				logger.Error(err, "An inline volume could not be compared with its pod, or be deleted", "volume", volume.Name, "pool", name, "owner", volume.Owner)
			case gone:
				logger.Info("Deleted an inline volume whose pod is gone", "volume", volume.Name, "pool", name, "owner", volume.Owner)
				reclaimed = true
			}
		}
		if reclaimed {
			n.inlineChanged(name)
		}
	}
}

// reclaimVolume deletes the volume if its pod is gone. A call of kubelet's for it that is under way goes first; and as none can begin
// meanwhile, what is seen of the pod still holds when the volume is deleted.
func (n *Node) reclaimVolume(ctx context.Context, pool pools.Pool, volume thinpool.Volume) (gone bool, err error) {
	if there, err := n.podIsThere(volume.Owner); there || err != nil {
		return false, err
	}
	end, err := n.inFlight.begin(volume.Name, "reclaim")
	if errors.Is(err, errInFlight) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer end()
	if there, err := n.podIsThere(volume.Owner); there || err != nil {
		return false, err
	}
	// Nothing is mounted below a directory that does not exist; what is mounted elsewhere makes the volume one in use.
	if err := pool.DeleteVolume(ctx, volume.Name); err != nil {
		return false, err
	}
	return true, nil
}

// podIsThere tells whether kubelet has the directory of an owner's pod. Where the directory of all pods cannot be seen, nothing can
// be said of any: this process runs in one of them.
func (n *Node) podIsThere(owner string) (bool, error) {
	place := inlinePattern.FindStringSubmatch(owner)
	if place == nil {
		return false, fmt.Errorf("owner %q is no place of an inline volume's mount", owner)
	}
	directory := n.config.Kubelet.Directory()
	pods, err := n.config.Kubelet.Open(filepath.Join(directory, "pods"))
	if err != nil {
		return false, err
	}
	defer func() { _ = pods.Close() }()
	pod, err := n.config.Kubelet.Open(filepath.Join(directory, place[1]))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, pod.Close()
}
