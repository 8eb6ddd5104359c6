package thinpool

import "time"

// SetFailpoint has f called at each failpoint, by its name.
func SetFailpoint(f func(name string)) { reached = func(at failpoint) { f(string(at)) } }

// Failpoints are the names of all failpoints.
func Failpoints() []string {
	var names []string
	for _, f := range failpoints {
		names = append(names, string(f))
	}
	return names
}

// LabelVersion is the format of the labels that are written, RegistryVersion that of the records.
const (
	LabelVersion    = labelVersion
	RegistryVersion = registryVersion
)

// SetDeletionSlice changes how many blocks are given back at once.
func SetDeletionSlice(blocks int64) { deletionSlice = blocks }

// SetMaximumBases changes how many bases a pool keeps.
func SetMaximumBases(n int) { maximumBases = n }

// Config is the configuration that the pool was opened with.
func (p *Pool) Config() Config {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.config
}

// BaseOf gives the thin id of the base that a spec's volumes are snapshots of.
func (p *Pool) BaseOf(spec VolumeSpec) (uint32, bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	b, ok := p.bases[keyOf(recordOf(spec.Format), spec.Size)]
	if !ok {
		return 0, false
	}
	return b.record.ThinID, b.ready
}

// SetBaseRest changes how long a base must not have been used to be given up for its space.
func SetBaseRest(rest time.Duration) { baseRest = rest }
