package thinpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// Pool is an open thin pool. Its methods may be called concurrently.
type Pool struct {
	dm    *devicemapper.Client
	stack stack
	// label: who the pool is never changes. Version, Generation, Devices and Areas belong to who holds growth.turn.
	label    label
	paths    []string // of the devices, as the source named them
	loopback bool
	device   devicemapper.Device // the thin pool
	metadata devicemapper.Device
	// metadataPath is the node of the device below the pool that holds its metadata.
	metadataPath string
	handed       *handedPool // what was handed over; nil for a pool that csi-dm divides itself
	growth       growth
	registry     *registry
	lock         *poolLock // nil: a pool that was handed over has none
	versions     versions
	health       sharedStatus
	messages     *messageTurn

	// life ends when the pool is closed; background work runs under it and is counted by work, as are calls.
	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	// names holds back concurrent calls for one volume.
	names nameLocks
	// metadataReader holds back all but one reader of the pool's metadata. It guards metadataLeft: a metadata snapshot that is
	// found held was left by this process or one before.
	metadataReader nameLocks
	metadataLeft   bool
	// reload is held while the thin-pool table is being changed, and for reading by calls that the kernel refuses, or lets
	// wait, while the pool is suspended for that.
	reload sync.RWMutex

	// mutex guards what follows. It is held for moments only, never across a call to kernel or disk.
	mutex      sync.Mutex
	closed     bool
	config     Config
	volumes    map[string]*volume
	bases      map[baseKey]*base
	nextThinID uint32
	nextIntent uint64
	promised   int64                // sum of the sizes of all volumes
	baseBytes  int64                // sum of what the bases map
	deletions  map[uint32]*deletion // by thin id
	deferred   map[uint32]struct{}  // thin ids whose devices the kernel removes when they are closed
	unknown    int                  // thin devices in the pool that the registry does not know
	space      spaceStates
	probing    probing
	// metadataFault is how reading the pool's metadata failed first, since the pool was opened or found sound; empty: it did not.
	metadataFault string
	below         loopSpace // as Status saw it last
	unfit         error     // why a pool that was handed over takes no volumes, since its owner changed it

	// deletionAdded holds a token when there may be a deletion that nobody is at; pace makes room between their steps.
	deletionAdded chan struct{}
	pace          *pacer

	// snapshots counts the create_snap calls of the pool's life, as the kernel does in its superblock.
	snapshots atomic.Int64
}

// volumeState says what a volume is good for.
type volumeState int

const (
	// volumeCreating: its intent is durable, or about to be, and nobody was told that it exists.
	volumeCreating volumeState = iota
	volumeReady
	// volumeDeleting: whether the intent of its deletion is durable is not known yet. If it is, a deletion takes its place.
	volumeDeleting
	// volumeLost: the registry knows it, and the pool holds no thin device of its id.
	volumeLost
)

// volume is the pool's memory of one volume. Fields are guarded by Pool.mutex; only the holder of the name's lock
// changes them.
type volume struct {
	record volumeRecord
	state  volumeState
	intent uint64 // the number of its intent in the registry; 0: none
	// grouped: the intent is that of a group, whose other volumes have it, too.
	grouped bool
	// thinMade: the kernel has made its thin device, so the one of its id is its own.
	thinMade bool
}

type versions struct{ deviceMapper, thinPool devicemapper.Version }

// begin counts a call in. The caller must call p.work.Done when it is through.
func (p *Pool) begin() error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.closed {
		return ErrPoolClosed
	}
	p.work.Add(1)
	return nil
}

// wrap says what failed on which pool and volume.
func (p *Pool) wrap(op, volume string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Pool: p.label.PoolName, Volume: volume, Err: err}
}

// intentNumber hands out the next intent's number. The mutex must be held.
func (p *Pool) intentNumber() uint64 {
	p.nextIntent++
	return p.nextIntent
}

// Volume gives a volume by name, or ErrVolumeNotFound.
func (p *Pool) Volume(name string) (Volume, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if v, ok := p.volumes[name]; ok && v.state == volumeReady {
		return v.public(name), nil
	}
	return Volume{}, p.wrap("look up", name, ErrVolumeNotFound)
}

// Volumes gives all volumes, ordered by name.
func (p *Pool) Volumes() []Volume {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	volumes := make([]Volume, 0, len(p.volumes))
	for name, v := range p.volumes {
		if v.state == volumeReady {
			volumes = append(volumes, v.public(name))
		}
	}
	slices.SortFunc(volumes, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	return volumes
}

func (v *volume) public(name string) Volume {
	return Volume{
		Name: name, ThinID: v.record.ThinID, Size: v.record.Size, Format: v.record.Format.format(),
		Source: v.record.Source, Owner: v.record.Owner, Created: v.record.Created,
	}
}

// Close gives back what Open took without touching volumes that are active: it waits for calls that are under way, commits
// what is not yet, and releases the registry. The pool's kernel devices stay, so that mounted volumes live on; Open adopts
// them. Later calls get ErrPoolClosed; a second Close does nothing.
func (p *Pool) Close() error {
	if !p.beginClose() {
		return nil
	}
	return p.wrap("close", "", errors.Join(p.endClose(), p.lock.close()))
}

// beginClose refuses later calls and tells whether it was the first to do so, who must call endClose.
func (p *Pool) beginClose() bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	first := !p.closed
	p.closed = true
	return first
}

// endClose waits for what is under way and gives everything back but the pool's lock.
func (p *Pool) endClose() error {
	p.end()
	p.work.Wait()
	return p.registry.close()
}

// Shutdown closes the pool and removes its kernel devices. It fails with ErrVolumeInUse, and the pool stays open, while a
// volume is active. A pool that was handed over stays as it is.
func (p *Pool) Shutdown(ctx context.Context) error {
	active, err := p.stack.activeThins(ctx)
	if err != nil {
		return p.wrap("shut down", "", err)
	}
	// What the engine itself uses for a moment goes when Close ends its work.
	active = slices.DeleteFunc(active, func(device devicemapper.Device) bool { return isBase(device, p.label.PoolID) })
	if len(active) > 0 {
		return p.wrap("shut down", "", fmt.Errorf("%w: %s and %d more devices are active", ErrVolumeInUse, active[0].Name, len(active)-1))
	}
	var closeErr error // what the registry misses of its last commit its intents say; the devices go nevertheless
	if p.beginClose() {
		closeErr = p.endClose()
	}
	if p.handed != nil {
		return p.wrap("shut down", "", errors.Join(closeErr, p.stack.remove(ctx, registryThinUUID(p.device.Number))))
	}
	// Nobody else may take the pool while its devices go.
	return p.wrap("shut down", "", errors.Join(closeErr, p.stack.removeParts(ctx), p.lock.remove(ctx)))
}

// activeThins lists the kernel devices of the pool's thin devices.
func (s stack) activeThins(ctx context.Context) ([]devicemapper.Device, error) {
	all, err := s.dm.List(ctx)
	if err != nil {
		return nil, err
	}
	var active []devicemapper.Device
	for _, listed := range all {
		uuid := listed.UUID
		if !listed.UUIDKnown && strings.HasPrefix(string(listed.Name), s.id.prefix()) {
			info, err := s.dm.Info(ctx, listed.Name)
			if errors.Is(err, devicemapper.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			uuid = info.UUID
		}
		if strings.HasPrefix(string(uuid), s.id.thinUUIDPrefix()) {
			listed.UUID = uuid
			active = append(active, listed.Device)
		}
	}
	return active, nil
}
