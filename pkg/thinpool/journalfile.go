package thinpool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// journalFile is the journal's name beside registryFile. It is of no account to a registry of a version before
// journalVersion: a driver that knows no journal would lose what is only there.
const (
	journalFile    = "journal"
	journalVersion = 2
)

// journalOnFile is a journal's storage in a file that never changes its size, so that a flush writes data alone.
type journalOnFile struct{ *os.File }

func (f journalOnFile) Flush() error { return unix.Fdatasync(int(f.Fd())) }

// openJournal opens the journal's file, and makes it first where there is none, or one that was not finished.
func (m *registryMount) openJournal() (journalOnFile, error) {
	file, err := m.openFile(journalFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return journalOnFile{}, err
	}
	info, err := file.Stat()
	if err == nil && info.Size() != journalSize {
		if _, err = file.WriteAt(make([]byte, journalSize), 0); err == nil {
			err = errors.Join(file.Sync(), m.sync())
		}
	}
	if err != nil {
		return journalOnFile{}, errors.Join(err, file.Close())
	}
	return journalOnFile{file}, nil
}

// close closes the storage of a journal, if there is one.
func (j *journal) close() error {
	if j == nil {
		return nil
	}
	if closer, ok := j.storage.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// replayJournal folds what the journal holds beyond the database.
func replayJournal(mount *registryMount, db *bbolt.DB) (err error) {
	file, err := mount.openFile(journalFile, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if info, err := file.Stat(); err != nil || info.Size() != journalSize {
		return err // it was never finished, so nothing is in it
	}
	var folded, last uint64
	var writes []write
	if err := db.View(func(tx *bbolt.Tx) error { folded, err = readFolded(tx); return err }); err != nil {
		return err
	}
	if writes, last, err = readJournal(file, folded); err != nil || last == folded {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error { return applyFolding(tx, writes, last) })
}

// applyFolding applies writes in a transaction, and notes the sequence of the journal's record up to which they go.
func applyFolding(tx *bbolt.Tx, writes []write, last uint64) error {
	for _, w := range writes {
		if err := w.apply(tx); err != nil {
			return err
		}
	}
	return tx.Bucket([]byte(bucketPool)).Put([]byte(keyFolded), binary.BigEndian.AppendUint64(nil, last))
}

func readFolded(tx *bbolt.Tx) (uint64, error) {
	pool := tx.Bucket([]byte(bucketPool))
	if pool == nil {
		return 0, fmt.Errorf("%w: no bucket %q", errRecordDamaged, bucketPool)
	}
	raw := pool.Get([]byte(keyFolded))
	if raw == nil {
		return 0, nil
	}
	return parseFolded(raw)
}

func parseFolded(raw []byte) (uint64, error) {
	if len(raw) != 8 {
		return 0, fmt.Errorf("%w: folded record of %d bytes", errRecordDamaged, len(raw))
	}
	return binary.BigEndian.Uint64(raw), nil
}
