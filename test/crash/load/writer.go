//go:build linux

package load

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/csi-dm/csi-dm/test/crash/attached"
	"github.com/csi-dm/csi-dm/test/crash/content"
	"github.com/csi-dm/csi-dm/test/crash/history"
)

// syncOneIn is how seldom a write is followed by an fsync: what is not synced is what a snapshot could miss.
const syncOneIn = 3

// maximumBeside is how many chunks are written beside another operation at most.
const maximumBeside = 40

// writer writes chunks of one volume.
type writer struct {
	volume   *attached.Volume
	random   *rand.Rand
	versions *atomic.Uint64
	tell     func(history.Event)
}

// some writes a number of chunks.
func (w *writer) some(count int) error {
	for range count {
		if err := w.one(); err != nil {
			return err
		}
	}
	return nil
}

// until writes until it has been enough, but no more than is of use.
func (w *writer) until(enough <-chan struct{}) error {
	for range maximumBeside {
		select {
		case <-enough:
			return nil
		default:
		}
		if err := w.one(); err != nil {
			return err
		}
	}
	<-enough
	return nil
}

func (w *writer) one() error {
	e := history.Event{
		Kind: history.Write, Stage: history.Begin, Volume: w.volume.Name, Chunk: w.random.IntN(Chunks), Version: w.versions.Add(1),
	}
	w.tell(e)
	if err := w.volume.Write(e.Chunk, content.Chunk(e.Chunk, e.Version)); err != nil {
		return fmt.Errorf("write %s: %w", e.Volume, err)
	}
	e.Stage = history.Done
	w.tell(e)
	if w.random.IntN(syncOneIn) > 0 {
		return nil
	}
	if err := w.volume.Sync(e.Chunk); err != nil {
		return fmt.Errorf("sync %s: %w", e.Volume, err)
	}
	w.tell(history.Event{Kind: history.Sync, Stage: history.Done, Volume: e.Volume, Chunk: e.Chunk})
	return nil
}
