package thinpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
)

// Open makes the pool that config describes, or reopens it where its devices already carry it.
//
// Nothing is formatted that ever was ready: what does not fit is an error that says so (ErrSourceChanged,
// ErrForeignPool, ErrPoolDamaged, …), and a device with any signature that config does not name is ErrSignatureFound.
// Kernel devices that an earlier process left are adopted, those it left suspended are resumed, and every intent that it
// left in the registry is finished or undone; mounted volumes notice nothing. A pool that the kernel holds read-only or
// failed opens too, so that its state can be told and its volumes read; it admits nothing. Formats of older versions are
// upgraded. What the source offers beyond the pool is taken in as by Reconfigure, but a failure of that is only logged.
//
// The pool is open in one process at a time. ctx bounds Open, not the pool.
func Open(ctx context.Context, dm *devicemapper.Client, config Config) (*Pool, error) {
	p, err := open(ctx, dm, config)
	if err != nil {
		return nil, &Error{Op: "open", Pool: config.Name, Err: err}
	}
	return p, nil
}

func open(ctx context.Context, dm *devicemapper.Client, config Config) (_ *Pool, err error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	p := &Pool{dm: dm, config: config, growth: growth{turn: make(chan struct{}, 1)}, loopback: config.Source.Loopback != nil, deletionAdded: make(chan struct{}, 1), pace: newPacer(), messages: newMessageTurn()}
	if p.versions.thinPool, err = dm.RequireThinPool(ctx); err != nil {
		return nil, err
	}
	if p.versions.deviceMapper, err = dm.Version(ctx); err != nil {
		return nil, err
	}
	if config.Source.ThinPoolDevice != "" {
		return p, p.openHanded(ctx)
	}
	devices, err := openSource(ctx, config.Source)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, devices.close()) }()
	verdict, previous, err := devices.match(config)
	if err != nil {
		return nil, err
	}
	if verdict == verdictMake {
		p.lock, err = makePool(ctx, dm, config, devices, previous)
	} else {
		p.lock, err = stack{dm, devices[0].label.PoolID}.lock(ctx, devices.members())
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.lock.giveUp(ctx))
		}
	}()
	p.label = devices[0].label
	p.stack = stack{dm, p.label.PoolID}
	members := devices.members()
	if err := p.stack.removeRepairParts(ctx); err != nil {
		return nil, err
	}
	p.setPaths(members)
	p.growth.numbers = members.numbers()
	if err := p.start(ctx, members); err != nil {
		return nil, err
	}
	p.growAtOpen(ctx, devices)
	return p, nil
}

// start activates the kernel's devices, opens the registry and recovers. On an error what it made is taken back.
func (p *Pool) start(ctx context.Context, devices sourceDevices) (err error) {
	var made parts
	numbers := devices.numbers()
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stack.undo(ctx, made))
		}
	}()
	if err := p.activateParts(ctx, numbers, &made); err != nil {
		return err
	}
	registryDevice, err := p.stack.ensurePart(ctx, partRegistry, p.label.table(areaRegistry, numbers), &made)
	if err != nil {
		return err
	}
	return p.startOn(ctx, registryDevice.Path(), devices)
}

// startOn opens the registry that lies on a block device and recovers.
func (p *Pool) startOn(ctx context.Context, registryDevice string, devices sourceDevices) error {
	reached(failRecoverActive)
	registry, contents, err := openRegistry(registryDevice, p.messages)
	if err != nil {
		return registryFailure(err)
	}
	reached(failRecoverRead)
	p.registry = registry
	p.life, p.end = context.WithCancel(context.WithoutCancel(ctx))
	if err = p.load(contents); err == nil {
		err = p.upgrade(ctx, devices, contents.pool)
	}
	if err == nil {
		reached(failRecoverLoaded)
		err = p.recover(ctx)
	}
	if err != nil {
		p.end()
		return errors.Join(err, registry.close())
	}
	p.startDeletions(ctx)
	klog.FromContext(ctx).Info("Thin pool is open", "pool", p.label.PoolName, "poolID", p.label.PoolID, "volumes", len(p.volumes), "bases", len(p.bases))
	return nil
}

func registryFailure(err error) error {
	switch {
	case errors.Is(err, errRecordNewer):
		return fmt.Errorf("%w: %w", ErrFormatNewer, err)
	case errors.Is(err, errRegistryInUse):
		return fmt.Errorf("%w: %w", ErrDeviceInUse, err)
	}
	return fmt.Errorf("%w: %w", ErrPoolDamaged, err)
}

// activateParts activates metadata, data and pool, and adopts those that are active.
func (p *Pool) activateParts(ctx context.Context, numbers []devicemapper.DeviceNumber, made *parts) (err error) {
	if p.metadata, err = p.stack.ensurePart(ctx, partMetadata, p.label.table(areaMetadata, numbers), made); err != nil {
		return err
	}
	p.metadataPath = p.metadata.Path()
	if err := p.settleTornSnapshot(ctx); err != nil {
		return err
	}
	superblock, err := p.checkSuperblock()
	if err != nil {
		return err
	}
	p.snapshots.Store(int64(superblock.Time))
	dataTable := p.label.table(areaData, numbers)
	data, err := p.stack.ensurePart(ctx, partData, dataTable, made)
	if err != nil {
		return err
	}
	policy := policyOf(p.config, dataTable.Length(), p.label.BlockSectors)
	table := poolTable(p.metadata.Number, data.Number, dataTable.Length(), p.label.BlockSectors, policy)
	if p.device, err = p.stack.ensurePart(ctx, partPool, table, made); err != nil {
		return fmt.Errorf("activate thin pool: %w", err)
	}
	if _, err := p.healthy(ctx); err != nil {
		klog.FromContext(ctx).Error(err, "Thin pool is left with the size and the policy that it has", "pool", p.label.PoolName)
		p.growth.behind = p.shorter(ctx)
		return nil
	}
	err = p.applyPolicy(ctx, policy)
	if errors.Is(err, ErrNotGrown) {
		klog.FromContext(ctx).Error(err, "Thin pool is left with the size that it has", "pool", p.label.PoolName)
		p.growth.behind = true
		return nil
	}
	return err
}

// checkSuperblock looks at the metadata before the kernel does: the kernel formats a pool whose superblock is zero, and all
// its volumes are gone.
func (p *Pool) checkSuperblock() (thinmetadata.Superblock, error) {
	device, err := thinmetadata.Open(p.metadataPath)
	if err != nil {
		return thinmetadata.Superblock{}, err
	}
	defer func() { _ = device.Close() }()
	superblock, err := device.ReadSuperblock(0)
	if err != nil {
		if errors.Is(err, thinmetadata.ErrDamaged) {
			err = fmt.Errorf("%w: %w; nothing was changed, the metadata can be repaired into the spare area", ErrPoolDamaged, err)
		}
		return superblock, err
	}
	if devicemapper.Sectors(superblock.DataBlockSize) != p.label.BlockSectors {
		return superblock, fmt.Errorf("%w: the metadata is of a pool with blocks of %d sectors, the label's has %d", ErrPoolDamaged, superblock.DataBlockSize, p.label.BlockSectors)
	}
	return superblock, nil
}

// load takes over what the registry holds. Nobody else may use the contents afterwards.
func (p *Pool) load(c *registryContents) error {
	if err := p.identify(c.pool); err != nil {
		return err
	}
	p.nextThinID = c.nextThinID
	p.deferred = map[uint32]struct{}{}
	p.volumes, p.bases, p.deletions = c.volumes, map[baseKey]*base{}, map[uint32]*deletion{}
	if err := c.checkOwners(); err != nil {
		return err
	}
	for _, v := range c.volumes {
		p.promised += v.record.Size
	}
	for _, r := range c.bases {
		p.bases[keyOf(r.Format, r.Size)] = readyBase(r)
		p.baseBytes += r.MappedBytes
	}
	for number, r := range c.intents {
		p.nextIntent = max(p.nextIntent, number)
		if err := p.loadIntent(number, r); err != nil {
			return err
		}
	}
	return nil
}

// checkOwners refuses a registry that gives one thin id to two.
func (c *registryContents) checkOwners() error {
	taken := make(map[uint32]struct{}, len(c.volumes)+len(c.bases))
	twice := func(thin uint32) bool {
		before := len(taken)
		taken[thin] = struct{}{}
		return len(taken) == before
	}
	for _, v := range c.volumes {
		if twice(v.record.ThinID) {
			return c.ownedTwice(v.record.ThinID)
		}
	}
	for _, r := range c.bases {
		if twice(r.ThinID) {
			return c.ownedTwice(r.ThinID)
		}
	}
	return nil
}

func (c *registryContents) ownedTwice(thin uint32) error {
	var owners []string
	for name, v := range c.volumes {
		if v.record.ThinID == thin {
			owners = append(owners, "volume "+name)
		}
	}
	slices.Sort(owners)
	for _, r := range c.bases {
		if r.ThinID == thin {
			owners = append(owners, "a base")
		}
	}
	return fmt.Errorf("%w: the registry gives thin id %d to two: %s", ErrPoolDamaged, thin, strings.Join(owners, " and "))
}
