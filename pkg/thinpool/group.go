package thinpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// MaximumGroup is how many volumes a snapshot of a group may have.
const MaximumGroup = 32

// GroupMember is one snapshot of a group: its name, and the volume that it is to begin as.
type GroupMember struct{ Name, Source string }

// Group is what SnapshotGroup has taken.
type Group struct {
	// Volumes are the snapshots, in the order of the members. They are as large as their sources.
	Volumes []Volume
	// Held is how long the I/O of one of the sources was held back at most, if it was this call that took the group.
	Held time.Duration
}

// SnapshotGroup makes volumes that begin with what their sources hold at one moment: while the snapshots are made the I/O of all
// sources is held back, so that a write to one of them that began after a write to another had ended is in no snapshot without
// that other. Each snapshot is otherwise as CreateVolume makes it from a source.
//
// All are made or none: one intent stands for the group, and a crash at any point is followed by all of them or by none. It is
// durable when it returns. Idempotent by the names: the same members again give the same group; ErrVolumeExists if some of
// the names belong to something else, or part of the group is gone. No I/O is held back for longer than groupHoldLimit, as far
// as the kernel lets go of it; the group is given up then. Once begun it is done to its end, even if ctx ends first.
func (p *Pool) SnapshotGroup(ctx context.Context, members []GroupMember) (Group, error) {
	if err := p.begin(); err != nil {
		return Group{}, p.wrap("snapshot group in", "", err)
	}
	defer p.work.Done()
	if err := validateGroup(members); err != nil {
		return Group{}, p.wrap("snapshot group in", "", err)
	}
	group, err := uninterrupted(ctx, &p.work, snapshotTimeout, func(ctx context.Context) (Group, error) {
		return p.snapshotGroup(ctx, members)
	})
	return group, p.wrap("snapshot group in", "", err)
}

func validateGroup(members []GroupMember) error {
	if len(members) == 0 || len(members) > MaximumGroup {
		return &FieldError{Field: "members", Value: strconv.Itoa(len(members)), Allowed: fmt.Sprintf("1 to %d", MaximumGroup)}
	}
	seen := map[string]bool{}
	for i, member := range members {
		for field, name := range map[string]string{"name": member.Name, "source": member.Source} {
			if err := validateVolumeName(name); err != nil {
				return err
			}
			if seen[name] {
				return &FieldError{Field: fmt.Sprintf("members[%d].%s", i, field), Value: name, Allowed: "a name that is in the group once"}
			}
			seen[name] = true
		}
	}
	return nil
}

func (p *Pool) snapshotGroup(ctx context.Context, members []GroupMember) (Group, error) {
	// Names before sources, as CreateVolume takes them.
	unlock, err := p.lockNames(ctx, members, func(m GroupMember) string { return m.Name })
	if err != nil {
		return Group{}, err
	}
	defer unlock()
	if group, complete, err := p.takenGroup(ctx, members); complete || err != nil {
		return group, err
	}
	unlockSources, err := p.lockNames(ctx, members, func(m GroupMember) string { return m.Source })
	if err != nil {
		return Group{}, err
	}
	defer unlockSources()
	volumes, number, err := p.admitGroup(ctx, members)
	if err != nil {
		return Group{}, err
	}
	held, err := p.takeGroup(ctx, members, volumes, number)
	if err != nil {
		p.undoGroup(members, volumes, number)
		return Group{}, err
	}
	group := Group{Held: held}
	results := make([]write, 0, len(members)+1)
	for i, member := range members {
		results = append(results, write{bucketVolumes, []byte(member.Name), encodeRecord(volumes[i].record)})
	}
	p.registry.committer.ride(append(results, write{bucketIntents, intentKey(number), nil})...)
	reached(failGroupDone)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for i, member := range members {
		volumes[i].state, volumes[i].intent, volumes[i].grouped = volumeReady, 0, false
		group.Volumes = append(group.Volumes, volumes[i].public(member.Name))
	}
	klog.FromContext(ctx).V(4).Info("Took snapshots of a group", "pool", p.label.PoolName, "volumes", len(members), "held", held)
	return group, nil
}

// lockNames locks a name of each member, in an order that all groups have.
func (p *Pool) lockNames(ctx context.Context, members []GroupMember, of func(GroupMember) string) (unlock func(), err error) {
	var held []func()
	unlock = func() {
		for _, unlock := range held {
			unlock()
		}
	}
	sorted := slices.SortedFunc(slices.Values(members), func(a, b GroupMember) int { return strings.Compare(of(a), of(b)) })
	for _, member := range sorted {
		one, err := p.names.lock(ctx, of(member))
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, one)
	}
	return unlock, nil
}

// takenGroup gives a group that was taken before. One of which only a part is there is an error: the rest would be of another
// moment. The names' locks must be held.
func (p *Pool) takenGroup(ctx context.Context, members []GroupMember) (group Group, complete bool, err error) {
	var moment time.Time
	for _, member := range members {
		v, err := p.settle(ctx, member.Name)
		if err != nil {
			return Group{}, false, err
		}
		if v == nil {
			continue
		}
		if v.state == volumeLost {
			return Group{}, false, v.lost()
		}
		if v.record.Source != member.Source || len(group.Volumes) > 0 && !v.record.Created.Equal(moment) {
			return Group{}, false, fmt.Errorf("%w: %s is a snapshot of %q at %s, and not of this group", ErrVolumeExists, member.Name, v.record.Source, v.record.Created)
		}
		moment = v.record.Created
		group.Volumes = append(group.Volumes, v.public(member.Name))
	}
	switch len(group.Volumes) {
	case 0:
		return Group{}, false, nil
	case len(members):
		return group, true, nil
	}
	return Group{}, false, fmt.Errorf("%w: of the %d snapshots of the group %d are there", ErrVolumeExists, len(members), len(group.Volumes))
}

// admitGroup reserves space and names for all members, and a number for their intent, all at one moment. All records have the
// same time of creation: it says that they belong together.
func (p *Pool) admitGroup(ctx context.Context, members []GroupMember) ([]*volume, uint64, error) {
	volumes, number, err := p.admitGroupOnce(ctx, members)
	if errors.Is(err, ErrNoSpace) && p.giveUpBases(ctx) {
		return p.admitGroupOnce(ctx, members)
	}
	return volumes, number, err
}

func (p *Pool) admitGroupOnce(ctx context.Context, members []GroupMember) ([]*volume, uint64, error) {
	if err := p.registry.committer.room(); err != nil {
		return nil, 0, err
	}
	records := make([]volumeRecord, len(members))
	created := time.Now().UTC()
	var size int64
	for i, member := range members {
		record, err := p.recordFrom(VolumeSpec{Name: member.Name, Source: member.Source})
		if err != nil {
			return nil, 0, err
		}
		record.Created = created
		records[i] = record
		size += record.Size
	}
	if err := p.lookAtTable(ctx); err != nil {
		return nil, 0, err
	}
	status, err := p.healthy(ctx)
	if err != nil {
		return nil, 0, err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if err := p.fits(status, volumeRecord{Size: size, Source: members[0].Source}); err != nil {
		return nil, 0, err
	}
	if left := p.snapshotsLeft(); left < int64(len(members)) {
		return nil, 0, fmt.Errorf("%w: %d are left", ErrSnapshotBudget, left)
	}
	thins := make([]uint32, len(members))
	for i := range members {
		if thins[i], err = p.takeThinID(); err != nil {
			return nil, 0, err
		}
	}
	number := p.intentNumber()
	volumes := make([]*volume, len(members))
	for i, member := range members {
		records[i].ThinID = thins[i]
		volumes[i] = &volume{state: volumeCreating, record: records[i], intent: number, grouped: true}
		p.volumes[member.Name] = volumes[i]
		p.promised += records[i].Size
	}
	return volumes, number, nil
}

// takeGroup writes the intent and takes the snapshots: intent, act. What was made is noted in volumes.
func (p *Pool) takeGroup(ctx context.Context, members []GroupMember, volumes []*volume, number uint64) (time.Duration, error) {
	intent := intentRecord{Kind: intentCreateGroup}
	for i, member := range members {
		intent.Group = append(intent.Group, groupRecord{Name: member.Name, Volume: volumes[i].record})
	}
	p.mutex.Lock()
	next := p.nextThinID
	p.mutex.Unlock()
	if err := p.registry.committer.commit(ctx, next, write{bucketIntents, intentKey(number), encodeRecord(intent)}); err != nil {
		return 0, err
	}
	reached(failGroupIntent)
	origins := make([]devicemapper.ThinID, len(members))
	for i, member := range members {
		p.mutex.Lock()
		origins[i] = devicemapper.ThinID(p.volumes[member.Source].record.ThinID)
		p.mutex.Unlock()
	}
	held, err := p.holdGroup(ctx, origins, func(i int) error {
		err := p.createSnapshot(ctx, devicemapper.ThinID(volumes[i].record.ThinID), origins[i])
		if err == nil {
			volumes[i].thinMade = true
		}
		return err
	})
	if err == nil {
		_, err = p.healthy(ctx)
	}
	return held, p.messageFailure(ctx, err)
}
