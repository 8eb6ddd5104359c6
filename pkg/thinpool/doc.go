// Package thinpool keeps volumes in a thin pool of the kernel's device mapper: block devices of any size that take space
// only as they are written, each made in milliseconds as a copy-on-write snapshot of a file system that was formatted
// beforehand. It makes the pool, carries its volumes through crashes, and knows nothing of Kubernetes or CSI.
//
// # In use
//
// [Open] makes or reopens the pool that a [Config] describes. [Pool.CreateVolume] and [Pool.DeleteVolume] are durable
// when they return; [Pool.Activate] gives a volume's block device, to be mounted by whoever wants it, and
// [Pool.Deactivate] takes it back. [Pool.Status] says how the pool is, and [Pool.Watch] when that may have changed.
// [Pool.Close] leaves the kernel's devices as they are, so that mounted volumes notice nothing of a restart;
// [Pool.Shutdown] removes them. Every call is idempotent and safe to repeat after any failure, a crash included.
//
// # A tour
//
// What a caller sees. config.go has what a pool is made from, volume.go what a volume is, validate.go what of both is
// refused, errors.go the errors. pool.go is an open pool: what it holds in memory, and which mutex guards it.
//
// What it adds to dm-thin. The kernel knows thin devices by numbers; here they have names (names.go derives those of
// the kernel's devices from the pool's identity, so that two pools never collide), a number is used once in the pool's
// life (thin.go), and that a name has a number is durable before anything relies on it (journal.go, commit.go). A thin
// device begins as a snapshot of a formatted one (base.go). Messages are judged by the pool's status behind them
// (thin.go). What the kernel permits and must not happen, such as a snapshot of an origin that is not suspended
// (hold.go) or one id active twice (names.go: the id is the device's uuid, and the kernel lets nobody have one twice),
// is prevented here.
//
// Where things lie. layout.go divides the devices: a label on each, and on the first an area each for the registry, the
// pool's metadata and a spare of the same size; the rest of all devices is data. label.go has the label's format,
// match.go compares labels with a configuration, source.go opens devices and claim.go claims them, loopback.go makes a file into one.
// layout_separate.go divides two devices of which one is for metadata alone. A pool that somebody else made has no
// label: handedpool.go finds it, adopt.go judges and opens it, takeover.go makes it csi-dm's, registrythin.go has its
// registry, a thin device.
//
// What the pool knows. registryfile.go has the file system that the registry lies on, mounted by file descriptor and
// visible to nobody; registry.go the bbolt file in it; records.go what is written there. registrycontents.go reads all of it
// when the pool is opened: quickly, page by page (registrysweep.go) and most volumes without encoding/json (volumerecord.go),
// or else through bbolt. commit.go is the one goroutine that writes: requests that come together are committed together,
// as they share readings of the pool's status (sharedstatus.go) while they stand in line for the kernel (messageturn.go). journal.go makes a commit one write and one flush,
// and journalfile.go replays what of it is not in the database yet. abandon.go lets go of a database whose disk failed
// under it.
//
// How a pool comes to be. open.go leads the way: make.go makes one that is not there yet, so that a cut at any point is
// followed by another beginning; devices.go stacks the kernel's devices or adopts those that are active; tornsnapshot.go
// takes back what a power cut can leave in the metadata; recovery.go ends what an earlier process left unfinished.
//
// How a pool changes. reconfigure.go applies another configuration. grow.go takes in what the source offers beyond the
// pool, layout_grow.go plans what becomes of it, and extend.go makes the kernel's devices longer. upgrade.go brings the
// formats of an older version up to date.
//
// What is done with volumes. create.go, delete.go and activate.go; thin.go has the messages to the pool that they
// share, newthin.go makes a thin device under its intent, and namelock.go keeps two requests for one name apart.
// snapshot.go makes a volume from another one, whose I/O hold.go holds back meanwhile, and uninterrupted.go sees to it
// that it gets that back. group.go makes snapshots of several volumes at one moment, under one intent, for which group_hold.go
// holds all of them back together, and group_undo.go takes back a group that did not become whole. growvolume.go makes a volume larger, and checkpoint.go has a grown file system write its log
// out. busy.go decides about devices that somebody has open, adoptthins.go about those that an earlier process has
// left. deletion.go keeps what is deleted for its owner and not yet for the pool, discard.go gives its blocks back in
// slices, extents.go says which may be discarded, and pacer.go makes room for the neighbours between these. trim.go
// lets a file system discard what it does not use, where that does nobody harm. base.go
// makes the formatted thin devices that volumes are snapshots of, bases.go lists them, baseidentity.go looks whether
// they still are what was made, and baseevict.go gives them up. admission.go decides who fits, by the same function
// (package headroom) by which the cluster publishes capacity.
//
// How the pool is. status.go puts together what the kernel and the registry say, space.go turns free space into states
// (loopspace.go: below a loop file), fault.go reads from the devices below and names the one that has failed,
// metadatafault.go notes that metadata could not be read, which the kernel keeps to itself, and watch.go waits for the
// kernel's events. usage.go tells what each volume holds of the pool and would give back, read from the pool's metadata
// (package thinmetadata) through metadatasnapshot.go, as recovery reads which thin ids there are. When the pool has
// made all the snapshots of its life, format.go formats volumes one by one.
//
// What is done when something is broken. check.go examines a pool that is open (check_open.go) or not: its metadata
// (check_metadata.go), its registry (check_registry.go, registrypages.go). repair.go does what the examination asks
// for, and repair_metadata.go has metadata and spare change places, for which repair_roots.go finds trees whose
// beginning is lost. lock.go keeps all of this, and every Open, from each other, in the whole kernel; maintenance.go
// holds a pool that is not open; find.go finds one by the labels of devices; tool.go runs the programs.
//
// How this is shown. failpoint.go names every place between two steps at which a crash matters. Tests kill the process
// at each (crash_kernel_test.go), fail the disks below (fault_kernel_test.go) and fill the pool (full_kernel_test.go),
// on a real kernel.
//
// # Intent, act, result
//
// The kernel's metadata and the registry cannot be changed together, so an operation is three steps. The intent, a record
// of what is about to happen and to which thin id, is committed. Then the kernel is asked, and its pool's status is
// read: a message that succeeded while its commit failed is not success. The result replaces the intent with the
// next commit that somebody else waits for; until then the intent says as much, for whoever finds it knows from the pool
// itself whether the act took place. So an operation costs one durable commit on its way, and often shares that.
//
// [Open] reads all intents and, through a metadata snapshot, all thin ids (package thinmetadata), and finishes or undoes:
// a volume whose thin device exists is finished, as it may have been acknowledged, and so is a group all of whose thin devices
// exist, while any other group is undone; a base is undone unless its result is there; a deletion goes on in the background. Then pool and registry must agree, and what does not is reported and left alone.
//
// # What is promised
//
//   - Nothing that was acknowledged is lost, and nothing that was not is half there.
//   - Nothing is formatted that ever was ready. A device that carries anything is refused, and the error says what.
//   - Thin ids only rise, and at most one device is active on each: the kernel itself sees to that, as the id is the device's
//     uuid.
//   - No lock and no transaction is held across mkfs, a flush of somebody else's data, or a program's run.
//   - A pool that fails refuses with the reason; volumes that can still be read are.
//
// # Errors
//
// Errors are [*Error] and match one of this package's sentinels with errors.Is, and the kernel's errno where the kernel
// refused. A *FieldError names a field that is not acceptable, its value and what is allowed.
package thinpool
