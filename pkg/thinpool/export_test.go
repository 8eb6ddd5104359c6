package thinpool

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

// SetMaximumBases changes how many bases a pool keeps.
func SetMaximumBases(n int) { maximumBases = n }

// Config is the configuration that the pool was opened with.
func (p *Pool) Config() Config {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.config
}
