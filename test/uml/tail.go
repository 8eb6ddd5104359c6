package uml

import "sync"

// tailSize is how much of the console is remembered, in bytes.
const tailSize = 64 << 10

// tail remembers the last bytes written to it.
type tail struct {
	mutex sync.Mutex
	size  int
	bytes []byte
}

func newTail(size int) *tail { return &tail{size: size} }

func (t *tail) Write(p []byte) (int, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.bytes = append(t.bytes, p...)
	// Twice the size before cutting keeps the copying to one byte per byte written.
	if len(t.bytes) > 2*t.size {
		t.bytes = append([]byte(nil), t.bytes[len(t.bytes)-t.size:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return string(t.bytes[max(0, len(t.bytes)-t.size):])
}
