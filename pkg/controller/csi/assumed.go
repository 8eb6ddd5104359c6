package csi

import (
	"maps"
	"sync"

	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// assumedVolumes are the volumes, and the devices of snapshots, that calls under way have promised, for the moment until the caches show them.
type assumedVolumes struct {
	// admission is held from the look at what was promised to the promise: one admission at a time.
	admission sync.Mutex

	mu    sync.Mutex
	parts map[part]view.Assumed
}

// part is a pool on a node.
type part struct{ pool, node string }

func newAssumedVolumes() *assumedVolumes {
	return &assumedVolumes{parts: map[part]view.Assumed{}}
}

// of returns a copy of what is assumed of a part.
func (a *assumedVolumes) of(p part) view.Assumed {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.parts[p])
}

func (a *assumedVolumes) add(p part, volume string, size int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.parts[p] == nil {
		a.parts[p] = view.Assumed{}
	}
	a.parts[p][volume] = size
}

func (a *assumedVolumes) remove(p part, volume string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.parts[p], volume)
	if len(a.parts[p]) == 0 {
		delete(a.parts, p)
	}
}
