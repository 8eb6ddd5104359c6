package runner

import (
	"io"
	"sync"
)

// lockedWriter lets several goroutines write to one target: the tests' reports, the guest's console, the tools.
type lockedWriter struct {
	mutex  sync.Mutex
	target io.Writer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.target.Write(p)
}
