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

const (
	// reclaimInterval is how often inline volumes are compared with kubelet's pods.
	reclaimInterval = time.Minute
	// forgottenAfter is for how long kubelet has neither a directory for a volume's mount nor a call for it when it has forgotten
	// the volume. Between two tries of a publication it waits for two minutes and two seconds at most (k8s.io/kubernetes,
	// pkg/util/goroutinemap/exponentialbackoff).
	forgottenAfter = 3 * time.Minute
)

// ReclaimInline deletes, at once and then every minute until ctx ends, the inline volumes that kubelet has forgotten: their
// publication failed for good, or what kubelet had written down was lost with the node's power.
//
// A volume is forgotten when its pod has no directory: kubelet unpublishes before it removes that, and makes it before it
// publishes. After a power cut the pod's directory can stay for ever, though: kubelet finds the file in which it notes a volume
// empty, removes the directory of the mount, and then neither unpublishes the volume nor removes the rest. So a volume is also
// forgotten when the directory of its mount is gone and kubelet does not publish it for some minutes. Any other pod keeps its
// volumes, whatever kubelet does about them.
func (n *Node) ReclaimInline(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		n.reclaim(ctx, time.Now())
		timer.Reset(reclaimInterval)
	}
}

// reclaim looks at all inline volumes once.
func (n *Node) reclaim(ctx context.Context, now time.Time) {
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
			gone, err := n.reclaimVolume(ctx, now, pool, volume)
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

// reclaimVolume deletes the volume if kubelet has forgotten it. A call of kubelet's for it that is under way goes first; and as none
// can begin meanwhile, what is seen of the pod still holds when the volume is deleted.
func (n *Node) reclaimVolume(ctx context.Context, now time.Time, pool pools.Pool, volume thinpool.Volume) (gone bool, err error) {
	if forgotten, err := n.forgotten(now, volume); !forgotten || err != nil {
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
	if forgotten, err := n.forgotten(now, volume); !forgotten || err != nil {
		return false, err
	}
	// Nothing is mounted below a directory that does not exist; what is mounted elsewhere makes the volume one in use.
	if err := pool.DeleteVolume(ctx, volume.Name); err != nil {
		return false, err
	}
	n.missing.found(volume.Name)
	return true, nil
}

// forgotten tells whether kubelet has forgotten a volume. Where the directory of all pods cannot be seen, nothing can be said of
// any: this process runs in one of them.
func (n *Node) forgotten(now time.Time, volume thinpool.Volume) (bool, error) {
	place := inlinePattern.FindStringSubmatch(volume.Owner)
	if place == nil {
		return false, fmt.Errorf("owner %q is no place of an inline volume's mount", volume.Owner)
	}
	if pods, err := n.isThere("pods"); err != nil {
		return false, err
	} else if !pods {
		return false, errNoPods
	}
	if pod, err := n.isThere(place[1]); err != nil || !pod {
		return !pod && err == nil, err
	}
	mount, err := n.isThere(volume.Owner)
	if err != nil {
		return false, err
	}
	if mount {
		n.missing.found(volume.Name)
		return false, nil
	}
	return n.missing.since(volume.Name, now) >= forgottenAfter, nil
}

// errNoPods: kubelet has no directory of pods.
var errNoPods = errors.New("kubelet's directory of pods is not there")

// isThere tells whether kubelet has a directory, by its path below kubelet's own.
func (n *Node) isThere(path string) (bool, error) {
	directory, err := n.config.Kubelet.Open(filepath.Join(n.config.Kubelet.Directory(), path))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, directory.Close()
}
