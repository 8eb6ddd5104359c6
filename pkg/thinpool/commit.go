package thinpool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// riderPatience is how long a result may wait for a commit to ride on. Until then its intent stands, which is as good.
const riderPatience = time.Second

// spareRegistryPages stay free for deletions, which need pages too before they give some back: below it no volume is made.
const spareRegistryPages = 256

// write puts a value under a key of a bucket, or removes the key where value is nil.
type write struct {
	bucket string
	key    []byte
	value  []byte
}

// committer writes to the registry: one goroutine, one transaction at a time. What is submitted while a transaction is
// being flushed goes into the next one together, so that a hundred concurrent requests cost two transactions and not a
// hundred. Nor does it begin while several messages wait for the kernel: what is to be committed allows the messages behind
// them, and more of that comes meanwhile. Submissions are committed in their order.
type committer struct {
	wake     chan struct{} // holds one token while something waits
	ends     chan struct{} // closed to stop
	done     chan struct{} // closed when the goroutine has ended
	messages *messageTurn

	mutex      sync.Mutex
	queue      []submission
	riding     bool   // there are submissions without a waiter
	failed     error  // set once a commit failed: what the file holds is then not known
	stopped    bool   // nothing is accepted any more
	nextThinID uint32 // the highest that was submitted
	freePages  int64

	// What follows belongs to the goroutine.
	written   uint32   // next thin id in the file
	inUse     int64    // pages of the file that are or were in use
	abandoned bool     // a fault left bbolt locked
	journal   *journal // nil: every commit is a transaction
	unfolded  []write  // that are in the journal and not in a transaction yet
}

type submission struct {
	writes []write
	done   chan error // nil: a rider
}

func (c *committer) start(r *registry, nextThinID uint32) {
	c.wake, c.ends, c.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	c.nextThinID, c.written = nextThinID, nextThinID
	go c.run(r)
}

// commit makes writes durable, together with everything submitted before. nextThinID is the id that the caller will hand
// out next. If ctx ends first the outcome is open: the writes may be committed or not.
func (c *committer) commit(ctx context.Context, nextThinID uint32, writes ...write) error {
	done := make(chan error, 1)
	if err := c.submit(submission{writes: writes, done: done}, nextThinID); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ride has writes committed with the next commit, at the latest after riderPatience.
func (c *committer) ride(writes ...write) { _ = c.submit(submission{writes: writes}, 0) }

func (c *committer) submit(s submission, nextThinID uint32) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.failed != nil {
		return c.failed
	}
	if c.stopped {
		return ErrPoolClosed
	}
	c.nextThinID = max(c.nextThinID, nextThinID)
	c.queue = append(c.queue, s)
	if s.done == nil {
		if c.riding {
			return nil // somebody has woken the committer for an earlier one
		}
		c.riding = true
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return nil
}

// room returns ErrRegistryFull where there is none for another entry.
func (c *committer) room() error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.freePages < spareRegistryPages {
		return fmt.Errorf("%w: %d pages of 4 KiB are free", ErrRegistryFull, c.freePages)
	}
	return nil
}

// broken returns the error that the registry failed with, or nil.
func (c *committer) broken() error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.failed
}

// stop commits what waits and ends the goroutine. It returns the error that the registry failed with, if it did.
func (c *committer) stop() error {
	c.mutex.Lock()
	if !c.stopped {
		c.stopped = true
		close(c.ends)
	}
	c.mutex.Unlock()
	<-c.done
	return c.failed
}

func (c *committer) run(r *registry) {
	defer close(c.done)
	patience := time.NewTimer(riderPatience)
	defer patience.Stop()
	for {
		select {
		case <-c.ends:
			c.flush(r)
			c.fold(r)
			return
		case <-patience.C:
			c.flush(r)
			c.fold(r)
		case <-c.wake:
			if c.urgent() {
				c.messages.awaitDrained()
				c.flush(r)
			}
			if c.journal != nil && (c.journal.used >= foldSlots || len(c.unfolded) >= foldWrites/2) {
				c.fold(r)
			}
			patience.Reset(riderPatience)
		}
	}
}

// urgent reports whether somebody waits for a submission.
func (c *committer) urgent() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, s := range c.queue {
		if s.done != nil {
			return true
		}
	}
	return false
}

// flush commits all that is queued and tells those who wait.
func (c *committer) flush(r *registry) {
	c.mutex.Lock()
	queue, nextThinID, err := c.queue, c.nextThinID, c.failed
	room := c.freePages >= foldPages
	c.queue, c.riding = nil, false
	c.mutex.Unlock()
	if len(queue) == 0 {
		return
	}
	if err == nil {
		err = c.write(r, queue, nextThinID, room)
	}
	if errors.Is(err, ErrRegistryFull) {
		c.requeue(queue)
	}
	err = c.settled(r, err)
	for _, s := range queue {
		if s.done != nil {
			s.done <- err
		}
	}
}

// fold brings what is only in the journal into the database.
func (c *committer) fold(r *registry) {
	if len(c.unfolded) == 0 || c.broken() != nil {
		return
	}
	_ = c.settled(r, c.transact(r, nil))
}

// settled remembers the error with which the registry fails, and how much of it is free.
func (c *committer) settled(r *registry, err error) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if err != nil && !errors.Is(err, ErrRegistryFull) {
		if !errors.Is(err, ErrPoolFailed) {
			err = fmt.Errorf("%w: registry: %w", ErrPoolFailed, err)
		}
		if c.failed == nil {
			c.failed = err
		}
	}
	c.freePages = r.freePagesOf(c.inUse)
	return err
}

// write makes a queue durable: in the journal, if somebody waits and the database has room to fold it later, or else in a
// transaction.
func (c *committer) write(r *registry, queue []submission, nextThinID uint32, room bool) error {
	var writes []write
	waited := false
	for _, s := range queue {
		writes = append(writes, s.writes...)
		waited = waited || s.done != nil
	}
	if nextThinID != c.written {
		writes = append(writes, write{bucketPool, []byte(keyNextThinID), binary.BigEndian.AppendUint32(nil, nextThinID)})
	}
	if len(c.unfolded) > 0 && len(c.unfolded)+len(writes) > foldWrites {
		if err := c.transact(r, nil); err != nil {
			return err
		}
	}
	err := errJournalFull
	if c.journal != nil && room && waited && len(writes) <= foldWrites {
		if err = c.journal.append(writes); err == nil {
			c.unfolded = append(c.unfolded, writes...)
			reached(failCommitJournalled)
		}
	}
	if errors.Is(err, errJournalFull) {
		err = c.transact(r, writes)
	}
	if err == nil {
		c.written = nextThinID
	}
	return err
}

// requeue keeps the riders of a transaction that did not fit: they are results of what has happened.
func (c *committer) requeue(queue []submission) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	var riders []submission
	for _, s := range queue {
		if s.done == nil {
			riders = append(riders, s)
		}
	}
	c.queue = append(riders, c.queue...)
	c.riding = len(riders) > 0
}

// transact folds the journal and applies further writes, in one transaction. A fault in the mapped file becomes an error.
func (c *committer) transact(r *registry, writes []write) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			c.abandoned = true
			err = fmt.Errorf("registry cannot be read: %v", fault)
		}
	}()
	err = r.db.Update(func(tx *bbolt.Tx) error {
		c.inUse = tx.Size() / registryPageSize
		if len(c.unfolded) > 0 {
			if err := applyFolding(tx, c.unfolded, c.journal.sequence); err != nil {
				return err
			}
		}
		for _, w := range writes {
			if err := w.apply(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, berrors.ErrMaxSizeReached) {
		return fmt.Errorf("%w: %w", ErrRegistryFull, err)
	}
	if err == nil && len(c.unfolded) > 0 {
		reached(failCommitFolded)
		c.unfolded = nil
		c.journal.folded()
	}
	return err
}

func (w write) apply(tx *bbolt.Tx) error {
	bucket := tx.Bucket([]byte(w.bucket))
	if w.value == nil {
		return bucket.Delete(w.key)
	}
	return bucket.Put(w.key, w.value)
}

// freePagesOf counts the pages that the next transactions can use: those behind the highest in use, and those that were
// given back. inUse is what the file uses of its pages, as of the transaction's beginning.
func (r *registry) freePagesOf(inUse int64) int64 {
	stats := r.db.Stats()
	return r.pages - inUse + int64(stats.FreePageN) + int64(stats.PendingPageN)
}
