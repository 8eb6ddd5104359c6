package thinpool

import (
	"context"
	"maps"
	"slices"

	"k8s.io/klog/v2"
)

// undoGroup takes a group back that was not completed. What of it was made becomes a deletion of its own; one commit replaces the
// group's intent by theirs, so that whoever is cut before finds the group, incomplete, and does the same.
func (p *Pool) undoGroup(members []GroupMember, volumes []*volume, number uint64) {
	names := make([]string, len(members))
	for i, member := range members {
		names[i] = member.Name
	}
	p.dissolveGroup(names, volumes, number, func(v *volume) bool { return v.thinMade })
}

// dissolveGroup is undoGroup; made tells which of the volumes have a thin device.
func (p *Pool) dissolveGroup(names []string, volumes []*volume, number uint64, made func(*volume) bool) {
	writes := []write{{bucketIntents, intentKey(number), nil}}
	var deletions []*deletion
	for i, v := range volumes {
		if made(v) {
			p.mutex.Lock()
			intent := p.intentNumber()
			p.mutex.Unlock()
			record := v.record
			writes = append(writes, write{bucketIntents, intentKey(intent), encodeRecord(intentRecord{Kind: intentDeleteVolume, Name: names[i], Volume: &record})})
			deletions = append(deletions, &deletion{thin: record.ThinID, size: record.Size, intent: intent, volume: names[i]})
		}
		p.forget(names[i], v)
	}
	p.registry.committer.ride(writes...)
	for _, d := range deletions {
		p.addDeletion(d)
	}
}

// finishGroups finishes the groups all of whose thin devices are there, which may have been acknowledged, and undoes the others.
func (p *Pool) finishGroups(ctx context.Context, thins map[uint32]bool) {
	logger := klog.FromContext(ctx)
	groups := map[uint64][]string{}
	for name, v := range p.volumes {
		if v.state == volumeCreating && v.grouped {
			groups[v.intent] = append(groups[v.intent], name)
		}
	}
	for _, number := range slices.Sorted(maps.Keys(groups)) {
		names := slices.Sorted(slices.Values(groups[number]))
		volumes := make([]*volume, len(names))
		complete := true
		for i, name := range names {
			volumes[i] = p.volumes[name]
			complete = complete && thins[volumes[i].record.ThinID]
		}
		if !complete {
			p.dissolveGroup(names, volumes, number, func(v *volume) bool { return thins[v.record.ThinID] })
			logger.Info("Undid the creation of a group of volumes", "pool", p.label.PoolName, "volumes", names)
			continue
		}
		writes := []write{{bucketIntents, intentKey(number), nil}}
		for i, name := range names {
			writes = append(writes, write{bucketVolumes, []byte(name), encodeRecord(volumes[i].record)})
			volumes[i].state, volumes[i].intent, volumes[i].grouped = volumeReady, 0, false
		}
		p.registry.committer.ride(writes...)
		logger.Info("Finished the creation of a group of volumes", "pool", p.label.PoolName, "volumes", names)
	}
}
