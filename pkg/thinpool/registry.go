package thinpool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
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

// registryContents is all that a registry held when it was opened.
type registryContents struct {
	pool       poolRecord
	nextThinID uint32
	volumes    map[string]*volume // ready, and nobody else's
	bases      []baseRecord
	intents    map[uint64]intentRecord
	inUse      int64  // pages of the file
	folded     uint64 // the sequence of the last record of the journal, which is in the contents
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

// openRegistry mounts the registry on a device, reads all of it and starts its committer.
func openRegistry(device string) (_ *registry, _ *registryContents, err error) {
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
	if err = warmRegistry(mount, db); err == nil {
		err = replayJournal(mount, db)
	}
	reached(failRecoverFolded)
	if err == nil {
		err = db.View(func(tx *bbolt.Tx) error {
			contents, err = readContents(tx)
			return err
		})
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("registry: %w", err), db.Close())
	}
	return db, contents, nil
}

// warmRegistry maps the pages that are in use, all with one call. bbolt tells the kernel to expect no order in what it reads
// of the mapped file, so without this a walk over all records is a request to the disk, and a fault, for each page.
func warmRegistry(mount *registryMount, db *bbolt.DB) error {
	var inUse int64
	if err := db.View(func(tx *bbolt.Tx) error { inUse = tx.Size(); return nil }); err != nil {
		return err
	}
	if err := unix.Fadvise(int(mount.file.Fd()), 0, inUse, unix.FADV_WILLNEED); err != nil {
		return fmt.Errorf("read ahead: %w", err)
	}
	if _, _, failure := unix.Syscall(unix.SYS_MADVISE, db.Info().Data, uintptr(inUse), unix.MADV_POPULATE_READ); failure != 0 && failure != unix.EINVAL {
		return fmt.Errorf("map: %w", failure) // EINVAL: the kernel is older than 5.14
	}
	return nil
}

func readContents(tx *bbolt.Tx) (*registryContents, error) {
	for _, name := range buckets {
		if tx.Bucket([]byte(name)) == nil {
			return nil, fmt.Errorf("%w: no bucket %q", errRecordDamaged, name)
		}
	}
	c := &registryContents{volumes: map[string]*volume{}, intents: map[uint64]intentRecord{}, inUse: tx.Size() / registryPageSize}
	pool := tx.Bucket([]byte(bucketPool))
	var err error
	if c.pool, err = decodePoolRecord(pool.Get([]byte(keyPoolRecord))); err != nil {
		return nil, err
	}
	if raw := pool.Get([]byte(keyNextThinID)); len(raw) == 4 {
		c.nextThinID = binary.BigEndian.Uint32(raw)
	} else if raw != nil {
		return nil, fmt.Errorf("%w: next thin id of %d bytes", errRecordDamaged, len(raw))
	}
	if c.folded, err = readFolded(tx); err != nil {
		return nil, err
	}
	volumes := newRecordDecoder[volumeRecord]()
	used := func(id uint32) { c.nextThinID = max(c.nextThinID, id+1) }
	err = errors.Join(
		tx.Bucket([]byte(bucketVolumes)).ForEach(func(key, raw []byte) error {
			r, err := decodeVolume(volumes, raw)
			if err != nil || !isVolumeName(key) {
				return errors.Join(fmt.Errorf("volume %q: %w", key, errRecordDamaged), err)
			}
			c.volumes[string(key)] = &volume{record: r, state: volumeReady}
			used(r.ThinID)
			return nil
		}),
		tx.Bucket([]byte(bucketBases)).ForEach(func(key, raw []byte) error {
			r, err := decodeRecord[baseRecord](raw)
			if err != nil {
				return fmt.Errorf("base %x: %w", key, err)
			}
			c.bases = append(c.bases, r)
			used(r.ThinID)
			return nil
		}),
		tx.Bucket([]byte(bucketIntents)).ForEach(func(key, raw []byte) error {
			r, err := decodeRecord[intentRecord](raw)
			if err != nil || len(key) != 8 {
				return errors.Join(fmt.Errorf("intent %x: %w", key, errRecordDamaged), err)
			}
			c.intents[binary.BigEndian.Uint64(key)] = r
			for _, id := range r.thinIDs() {
				used(id)
			}
			return nil
		}),
	)
	return c, err
}

// close commits what is waiting, stops the committer and unmounts.
func (r *registry) close() error {
	err := r.committer.stop()
	if r.committer.abandoned {
		return errors.Join(err, abandon(r.mount.file), r.committer.journal.close(), r.mount.close())
	}
	return errors.Join(err, r.db.Close(), r.committer.journal.close(), r.mount.close())
}
