package csi

import (
	"fmt"
	"sync"
)

// inFlight lets one operation at a time work on a volume. A second one is turned away rather than made to wait: kubelet
// repeats it, and calls that wait would pile up behind a slow one.
type inFlight struct {
	mu      sync.Mutex
	volumes map[string]string
}

// begin claims the volume for the named operation until the function that it returns is called.
func (f *inFlight) begin(volume, operation string) (end func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other, busy := f.volumes[volume]; busy {
		return nil, fmt.Errorf("%w: volume %q, %s", errInFlight, volume, other)
	}
	if f.volumes == nil {
		f.volumes = make(map[string]string)
	}
	f.volumes[volume] = operation
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.volumes, volume)
	}, nil
}

// Hold keeps kubelet's calls for a volume away until end is called: they are turned away, and come again. An error, which is
// temporary, says that one is under way.
func (n *Node) Hold(volume string) (end func(), err error) { return n.inFlight.begin(volume, "trim") }

// busy tells whether an operation works on the volume.
func (f *inFlight) busy(volume string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, busy := f.volumes[volume]
	return busy
}
