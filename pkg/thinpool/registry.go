package thinpool

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// registryPageSize is fixed, whatever the page size of the machine: the disk may be moved to another.
const registryPageSize = 4096

// registryLockTimeout is how long another process may take to let go of the registry: an agent that is just ending.
const registryLockTimeout = 5 * time.Second

// errRegistryInUse: another process has the pool open.
var errRegistryInUse = errors.New("registry is in use by another process")

// registry is the pool's memory of its volumes: a bbolt file inside the pool. Everything is read once, when it is opened;
// from then on it is only written, by the committer. See commit.go.
type registry struct {
	mount *registryMount
	db    *bbolt.DB
	pages int64 // that the file has

	committer committer
}

// makeRegistry makes an empty registry on a device: file system, file, buckets, pool record. All is flushed.
func makeRegistry(device string, record poolRecord) (err error) {
	mount, err := mountRegistry(device)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mount.close()) }()
	journal, err := mount.openJournal()
	if err != nil {
		return fmt.Errorf("make registry: %w", err)
	}
	if err := journal.Close(); err != nil {
		return err
	}
	size, err := mount.room()
	if err != nil {
		return err
	}
	if err := writeZeros(mount, size); err != nil {
		return fmt.Errorf("make registry: %w", err)
	}
	db, err := bbolt.Open(registryFile, 0o600, registryOptions(mount, 0))
	if err != nil {
		return fmt.Errorf("make registry: %w", err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return tx.Bucket([]byte(bucketPool)).Put([]byte(keyPoolRecord), encodeRecord(record))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("make registry: %w", err)
	}
	return mount.sync()
}

// writeZeros makes the registry's file with every block written. bbolt takes an existing file for a database unless it is
// empty, so its first pages come from a database that was made empty and grown around.
func writeZeros(mount *registryMount, size int64) error {
	db, err := bbolt.Open(registryFile, 0o600, registryOptions(mount, 0))
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	file, err := mount.open("", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	zeros := make([]byte, 1<<20)
	for at := int64(0); err == nil && at < size; {
		if at == 0 {
			at = info.Size()
		}
		n := min(int64(len(zeros)), size-at)
		_, err = file.WriteAt(zeros[:n], at)
		at += n
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func registryOptions(mount *registryMount, size int64) *bbolt.Options {
	return &bbolt.Options{
		Timeout:      registryLockTimeout,
		PageSize:     registryPageSize,
		OpenFile:     mount.open,
		FreelistType: bbolt.FreelistMapType,
		// With NoFreelistSync a commit writes one page less; but then bbolt reads all pages after every failure, in a goroutine
		// of its own, where a fault ends the process.
		NoFreelistSync:  false,
		InitialMmapSize: int(size),
		MaxSize:         int(size),
		NoStatistics:    false, // the free pages are counted from them
	}
}

// openRegistry mounts the registry on a device, reads all of it and starts its committer. Commits are about what messages will do.
func openRegistry(device string, messages *messageTurn) (_ *registry, _ *registryContents, err error) {
	mount, err := mountRegistry(device)
	if err != nil {
		return nil, nil, err
	}
	reached(failRecoverMounted)
	size, err := registrySize(mount)
	if err != nil {
		return nil, nil, errors.Join(err, mount.close())
	}
	db, contents, err := loadRegistry(mount, size)
	if err != nil {
		return nil, nil, errors.Join(err, mount.close())
	}
	// A page that the allocation step would add must not count against MaxSize: the file never grows.
	db.AllocSize = registryPageSize
	r := &registry{mount: mount, db: db, pages: size / registryPageSize}
	r.committer.inUse, r.committer.freePages = contents.inUse, r.freePagesOf(contents.inUse)
	if contents.pool.Version >= journalVersion {
		file, err := mount.openJournal()
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("registry: %w", err), db.Close(), mount.close())
		}
		r.committer.journal = &journal{storage: file, sequence: contents.folded}
	}
	r.committer.messages = messages
	r.committer.start(r, contents.nextThinID)
	return r, contents, nil
}

func registrySize(mount *registryMount) (int64, error) {
	file, err := mount.open("", os.O_RDONLY, 0)
	if err != nil {
		return 0, fmt.Errorf("registry: %w", err)
	}
	info, err := file.Stat()
	if err = errors.Join(err, file.Close()); err != nil {
		return 0, fmt.Errorf("registry: %w", err)
	}
	return info.Size(), nil
}

// loadRegistry opens the file, folds the journal into it and decodes every record. bbolt maps the file into memory, where an I/O error is a fault and
// not an error: it is made one here.
func loadRegistry(mount *registryMount, size int64) (db *bbolt.DB, contents *registryContents, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			err = errors.Join(fmt.Errorf("registry cannot be read: %v", fault), abandon(mount.file))
		}
	}()
	db, err = bbolt.Open(registryFile, 0o600, registryOptions(mount, size))
	if err != nil {
		if errors.Is(err, berrors.ErrTimeout) {
			err = errRegistryInUse
		}
		return nil, nil, fmt.Errorf("registry: %w", err)
	}
	if err = replayJournal(mount, db); err == nil {
		reached(failRecoverFolded)
		contents, err = readContents(db, mount.file, size)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("registry: %w", err), db.Close())
	}
	return db, contents, nil
}

// close commits what is waiting, stops the committer and unmounts.
func (r *registry) close() error {
	err := r.committer.stop()
	if r.committer.abandoned {
		return errors.Join(err, abandon(r.mount.file), r.committer.journal.close(), r.mount.close())
	}
	return errors.Join(err, r.db.Close(), r.committer.journal.close(), r.mount.close())
}
