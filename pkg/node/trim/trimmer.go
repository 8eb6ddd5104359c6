package trim

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/confinedpath"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

const (
	// A file system is asked for firstSlice bytes of its space, then for half as many where that took longer than slowSlice, and
	// for twice as many where it was fast, within bounds. The least is a group of an ext4, which remembers that it was trimmed.
	firstSlice    = 256 << 20
	smallestSlice = 128 << 20
	largestSlice  = 64 << 30
	slowSlice     = 50 * time.Millisecond

	// volumeLimit bounds the trim of one volume.
	volumeLimit = time.Hour
)

// Config is what a Trimmer works with.
type Config struct {
	Pools *pools.Set
	// Kubelet is kubelet's directory, below which volumes are mounted: mounts elsewhere are not looked at.
	Kubelet *confinedpath.Root
	// Interval between two trims of a volume, greater than 0; each is up to a quarter shorter or longer.
	Interval time.Duration
	// Hold keeps kubelet's calls for a volume away until end is called. An error says that one is under way.
	Hold    func(volume string) (end func(), err error)
	Metrics *Metrics
}

// Trimmer trims the volumes of a node.
type Trimmer struct{ config Config }

// New makes a trimmer; Run sets it to work.
func New(config Config) *Trimmer { return &Trimmer{config: config} }

// Run trims all volumes once in an interval until ctx ends. The first time is anywhere within the first interval, so that nodes which
// start together do not trim together.
func (t *Trimmer) Run(ctx context.Context) {
	timer := time.NewTimer(time.Duration(rand.Int64N(int64(t.config.Interval)))) //nolint:gosec // nothing secret
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		t.trimAll(ctx)
		timer.Reset(jittered(t.config.Interval))
	}
}

// jittered is the interval, up to a quarter shorter or longer.
func jittered(interval time.Duration) time.Duration {
	return interval*3/4 + time.Duration(rand.Int64N(int64(interval)/2+1)) //nolint:gosec // nothing secret
}

// trimAll trims what is mounted, one volume at a time.
func (t *Trimmer) trimAll(ctx context.Context) {
	for _, name := range t.config.Pools.Names() {
		pool, err := t.config.Pools.Get(name)
		if err != nil {
			continue // nothing of it can be mounted anew; what is, is trimmed when it is open
		}
		began, freed, trimmed := time.Now(), int64(0), 0
		for _, volume := range pool.Volumes() {
			if ctx.Err() != nil {
				return
			}
			back, err := t.trimVolume(ctx, pool, volume)
			freed += back
			t.config.Metrics.count(name, back, outcomeOf(err))
			switch {
			case err == nil:
				trimmed++
			case errors.Is(err, thinpool.ErrTrimBusy):
				klog.FromContext(ctx).V(2).Info("A pool's volumes are trimmed another time", "pool", name, "err", err)
			case outcomeOf(err) == outcomeFailed && ctx.Err() == nil:
				klog.FromContext(ctx).Error(err, "A volume could not be trimmed", "pool", name, "volume", volume.Name)
			}
			if errors.Is(err, thinpool.ErrTrimBusy) {
				break
			}
		}
		if trimmed > 0 {
			klog.FromContext(ctx).V(2).Info("Trimmed volumes", "pool", name, "volumes", trimmed, "bytesGivenBack", freed, "duration", time.Since(began))
		}
	}
}

// errNotMounted: the volume has no file system that could be trimmed: it is not mounted, or only read-only.
var errNotMounted = errors.New("volume is not mounted for writing")

// trimVolume trims one volume and says how many bytes its pool got back.
func (t *Trimmer) trimVolume(ctx context.Context, pool pools.Pool, volume thinpool.Volume) (freed int64, err error) {
	if volume.Format.Type == "" {
		return 0, errNotMounted
	}
	ctx, cancel := context.WithTimeout(ctx, volumeLimit)
	defer cancel()
	start, length := int64(0), int64(firstSlice)
	freed, err = pool.Trim(ctx, volume.Name, func(_ context.Context, device string) (done bool, err error) {
		began := time.Now()
		if done, err = t.trimSlice(volume.Name, device, start, length); err != nil || done {
			return done, err
		}
		start += length
		length = nextSlice(length, time.Since(began))
		return start >= volume.Size, nil
	})
	if freed > 0 {
		klog.FromContext(ctx).V(4).Info("Trimmed a volume", "volume", volume.Name, "bytesGivenBack", freed)
	}
	return freed, err
}

// trimSlice trims a part of what the device holds. The mount is looked up each time, and let go: a pod that ends in between does not
// wait.
func (t *Trimmer) trimSlice(volume, device string, start, length int64) (done bool, err error) {
	end, err := t.config.Hold(volume)
	if err != nil {
		return false, errors.Join(errNotMounted, err)
	}
	defer end()
	directory, err := openMount(device, t.config.Kubelet)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, directory.Close()) }()
	err = filesystem.Trim(directory, start, length)
	switch {
	case errors.Is(err, filesystem.ErrTrimEnd):
		return true, nil
	case errors.Is(err, unix.EROFS):
		return false, errors.Join(errNotMounted, err)
	}
	return false, err
}

// nextSlice is the length of the slice that follows one which took so long, in bytes.
func nextSlice(length int64, took time.Duration) int64 {
	switch {
	case took > slowSlice:
		return max(length/2, smallestSlice)
	case took < slowSlice/4:
		return min(2*length, largestSlice)
	}
	return length
}
