package thinpool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// takenThinIDs is how many thin ids in a row may be taken by devices that the registry does not know.
const takenThinIDs = 16

// act has the kernel make a thin device.
type act func(ctx context.Context, thin devicemapper.ThinID) (outcome, error)

// outcome is what an act has led to, also where it returns an error.
type outcome struct {
	made bool          // the thin device exists, and is ours
	held time.Duration // how long the I/O of a source waited for that
}

// newThin makes a thin device: the intent under that number, then the act. An id that is taken, because somebody else made a
// device in the pool, was not ours to give, and the device on it is not ours to delete: the next one is tried under the same
// intent. A process that dies right between would take that device for its own, which is one of the reasons why nobody else
// may use the pool.
func (p *Pool) newThin(ctx context.Context, number uint64, intent func(thin uint32) intentRecord, do act) (thin uint32, o outcome, err error) {
	for range takenThinIDs {
		p.mutex.Lock()
		thin, err = p.takeThinID()
		next := p.nextThinID
		p.mutex.Unlock()
		if err != nil {
			return 0, outcome{}, err
		}
		if err := p.registry.committer.commit(ctx, next, write{bucketIntents, intentKey(number), encodeRecord(intent(thin))}); err != nil {
			return thin, outcome{}, err
		}
		o, err = do(ctx, devicemapper.ThinID(thin))
		if !errors.Is(err, devicemapper.ErrThinExist) {
			return thin, o, p.messageFailure(ctx, err)
		}
		p.mutex.Lock()
		p.unknown++
		p.mutex.Unlock()
		klog.FromContext(ctx).Error(err, "The pool holds a thin device that the registry does not know", "pool", p.label.PoolName, "thinID", thin)
	}
	return thin, outcome{}, fmt.Errorf("%w: %d thin ids in a row are taken by devices that the registry does not know: %w", ErrPoolDamaged, takenThinIDs, err)
}

// createEmpty makes a thin device that reads as zeros.
func (p *Pool) createEmpty(ctx context.Context, thin devicemapper.ThinID) (outcome, error) {
	p.reload.RLock()
	defer p.reload.RUnlock()
	err := p.messages.send(ctx, func() error { return p.dm.CreateThin(ctx, p.device, thin) })
	return outcome{made: err == nil}, err
}
