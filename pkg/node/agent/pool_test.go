package agent

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

func condition(t *testing.T, conditions []metav1.Condition, kind string) metav1.Condition {
	t.Helper()
	found := meta.FindStatusCondition(conditions, kind)
	if found == nil {
		t.Fatalf("no condition %s in %v", kind, conditions)
	}
	return *found
}

func TestPoolThatCannotBeOpened(t *testing.T) {
	for _, test := range []struct {
		err    error
		reason string
	}{
		{&thinpool.Error{Op: "open", Pool: "fast", Err: fmt.Errorf("%w: /dev/vdb: ext4", thinpool.ErrSignatureFound)}, "SignatureFound"},
		{&thinpool.Error{Op: "open", Pool: "fast", Err: thinpool.ErrSourceChanged}, "SourceChanged"},
		{&thinpool.Error{Op: "open", Pool: "fast", Err: thinpool.ErrForeignPool}, "SourceChanged"},
		{&thinpool.Error{Op: "open", Pool: "fast", Err: thinpool.ErrDeviceNotFound}, "DeviceNotFound"},
		{&thinpool.Error{Op: "open", Pool: "fast", Err: thinpool.ErrDeviceInUse}, "DeviceInUse"},
		{&thinpool.Error{Op: "open", Pool: "fast", Err: thinpool.ErrPoolFailed}, "PoolFailed"},
		{&thinpool.Error{Op: "open", Pool: "fast", Err: thinpool.ErrPoolDamaged}, "PoolFailed"},
		{&thinpool.FieldError{Field: "source", Value: "x", Allowed: "y"}, "Invalid"},
		{unix.EIO, "Failed"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			h := newHarness(t, poolObject(nil))
			h.openErr = test.err
			for range 3 {
				if _, err := h.reconcilePool(); !errors.Is(err, test.err) {
					t.Errorf("it must be tried again: %v", err)
				}
			}
			status := h.cluster.pool(testPool).Status
			ready, admitting := condition(t, status.Conditions, "Ready"), condition(t, status.Conditions, "Admitting")
			if ready.Status != metav1.ConditionFalse || ready.Reason != test.reason || ready.Message != test.err.Error() {
				t.Errorf("ready is %+v", ready)
			}
			if admitting.Status != metav1.ConditionFalse {
				t.Errorf("admitting is %+v", admitting)
			}
			if h.statusWrites != 1 {
				t.Errorf("%d status writes for one state", h.statusWrites)
			}
			// The device comes.
			h.openErr = nil
			if _, err := h.reconcilePool(); err != nil {
				t.Fatal(err)
			}
			status = h.cluster.pool(testPool).Status
			if ready := condition(t, status.Conditions, "Ready"); ready.Status != metav1.ConditionTrue || status.PoolID != testID || status.ObservedGeneration != 1 {
				t.Errorf("status is %+v", status)
			}
		})
	}
}

func TestPoolConditions(t *testing.T) {
	refuse := func(s *thinpool.Status, err error) {
		s.Admitting, s.AdmissionError, s.AdmissionReason = false, fmt.Errorf("%w: 9 of 100", err), "9 of 100"
	}
	for name, test := range map[string]struct {
		change func(*thinpool.Status)
		// Conditions that differ from those of a healthy pool, as "status reason".
		want map[string]string
	}{
		"healthy":         {func(*thinpool.Status) {}, nil},
		"below minFree":   {func(s *thinpool.Status) { refuse(s, thinpool.ErrBelowMinFree) }, map[string]string{"Admitting": "False BelowMinFreeSpace"}},
		"no thin ids":     {func(s *thinpool.Status) { refuse(s, thinpool.ErrThinIDs) }, map[string]string{"Admitting": "False ThinIDsUsedUp"}},
		"registry full":   {func(s *thinpool.Status) { refuse(s, thinpool.ErrRegistryFull) }, map[string]string{"Admitting": "False RegistryFull"}},
		"registry broken": {func(s *thinpool.Status) { refuse(s, thinpool.ErrPoolFailed) }, map[string]string{"Admitting": "False PoolFailed"}},
		"budget refused":  {func(s *thinpool.Status) { refuse(s, thinpool.ErrSnapshotBudget) }, map[string]string{"Admitting": "False SnapshotBudgetUsedUp"}},
		"full": {func(s *thinpool.Status) {
			s.Mode, s.Data.State = thinpool.ModeOutOfDataSpace, thinpool.SpaceFull
			refuse(s, thinpool.ErrPoolFull)
		}, map[string]string{"Admitting": "False PoolFull", "DataSpaceSufficient": "False SpaceFull"}},
		"low data":          {func(s *thinpool.Status) { s.Data.State = thinpool.SpaceLow }, map[string]string{"DataSpaceSufficient": "False SpaceLow"}},
		"critical data":     {func(s *thinpool.Status) { s.Data.State = thinpool.SpaceCritical }, map[string]string{"DataSpaceSufficient": "False SpaceCritical"}},
		"low metadata":      {func(s *thinpool.Status) { s.Metadata.State = thinpool.SpaceLow }, map[string]string{"MetadataSpaceSufficient": "False SpaceLow"}},
		"critical metadata": {func(s *thinpool.Status) { s.Metadata.State = thinpool.SpaceCritical }, map[string]string{"MetadataSpaceSufficient": "False SpaceCritical"}},
		"few snapshots":     {func(s *thinpool.Status) { s.SnapshotBudget = thinpool.LowSnapshotBudget }, map[string]string{"SnapshotBudgetSufficient": "False SnapshotBudgetLow"}},
		"no snapshots":      {func(s *thinpool.Status) { s.SnapshotBudget = 0 }, map[string]string{"SnapshotBudgetSufficient": "False SnapshotBudgetUsedUp"}},
		"read-only":         {func(s *thinpool.Status) { s.Mode = thinpool.ModeReadOnly }, map[string]string{"Ready": "False PoolFailed", "Admitting": "False PoolNotReady"}},
		"failed": {func(s *thinpool.Status) {
			s.Mode, s.Data, s.Metadata = thinpool.ModeFailed, thinpool.Space{}, thinpool.Space{}
		}, map[string]string{
			"Ready": "False PoolFailed", "Admitting": "False PoolNotReady",
			"DataSpaceSufficient": "Unknown PoolFailed", "MetadataSpaceSufficient": "Unknown PoolFailed",
		}},
		"check":    {func(s *thinpool.Status) { s.NeedsCheck = true }, map[string]string{"Ready": "False PoolFailed", "Admitting": "False PoolNotReady"}},
		"fault":    {func(s *thinpool.Status) { s.Fault = "/dev/vdb cannot be read" }, map[string]string{"Ready": "False PoolFailed", "Admitting": "False PoolNotReady"}},
		"loopback": {func(s *thinpool.Status) { s.Loopback = true }, map[string]string{"ProductionGrade": "False Loopback"}},
		"not grown": {func(s *thinpool.Status) {
			s.GrowthError = fmt.Errorf("%w: %w: /dev/vdc carries ext4", thinpool.ErrNotGrown, thinpool.ErrSignatureFound)
		}, map[string]string{"Grown": "False SignatureFound"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, poolObject(nil))
			test.change(&h.pool.status)
			if _, err := h.reconcilePool(); err != nil {
				t.Fatal(err)
			}
			conditions := h.cluster.pool(testPool).Status.Conditions
			want := map[string]string{
				"Ready": "True Ready", "Admitting": "True Admitting", "ProductionGrade": "True BlockDevices", "DataSpaceSufficient": "True Sufficient",
				"MetadataSpaceSufficient": "True Sufficient", "SnapshotBudgetSufficient": "True Sufficient", "NoOrphanedVolumes": "True NoneOrphaned",
				"Grown": "True AllTakenIn",
			}
			maps.Copy(want, test.want)
			for kind, expected := range want {
				found := condition(t, conditions, kind)
				if got := string(found.Status) + " " + found.Reason; got != expected || found.Message == "" {
					t.Errorf("%s is %q (%s), want %q", kind, got, found.Message, expected)
				}
			}
			if message := condition(t, conditions, "Ready").Message; name == "fault" && message != h.pool.status.Fault {
				t.Errorf("ready says %q", message)
			}
		})
	}
}

// TestPoolThatCannotGrow: with space that could not be taken in the pool goes on, and its other settings are applied.
func TestPoolThatCannotGrow(t *testing.T) {
	h := newHarness(t, poolObject(nil))
	if _, err := h.reconcilePool(); err != nil {
		t.Fatal(err)
	}
	h.pool.reconfigureErr = fmt.Errorf("%w: %w", thinpool.ErrNotGrown, thinpool.ErrDeviceNotFound)
	h.pool.status.GrowthError = h.pool.reconfigureErr
	object := h.cluster.pool(testPool)
	object.Spec.MinFreeSpace = "20%"
	if err := h.Update(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	if _, err := h.reconcilePool(); err != nil {
		t.Errorf("it is tried by the queue: %v", err)
	}
	conditions := h.cluster.pool(testPool).Status.Conditions
	for kind, want := range map[string]string{"Ready": "True Ready", "Admitting": "True Admitting", "Grown": "False DeviceNotFound"} {
		if found := condition(t, conditions, kind); string(found.Status)+" "+found.Reason != want {
			t.Errorf("%s is %+v", kind, found)
		}
	}
	if config, _ := h.set.Config("fast"); config.MinFreePercent != 20 {
		t.Errorf("the settings are %+v", config)
	}
	// Another failure is one of the settings.
	h.pool.reconfigureErr = thinpool.ErrSourceChanged
	if _, err := h.reconcilePool(); !errors.Is(err, thinpool.ErrSourceChanged) {
		t.Errorf("got %v", err)
	}
	if found := condition(t, h.cluster.pool(testPool).Status.Conditions, "Ready"); found.Reason != v1alpha1.ReasonSourceChanged {
		t.Errorf("ready is %+v", found)
	}
}

// TestOrphanedVolumes: what the pool holds and no object stands for is said and counted, and left alone.
func TestOrphanedVolumes(t *testing.T) {
	h := newHarness(t, readyPool(nil), volumeObject("known", nil))
	for i := range 12 {
		h.pool.created[fmt.Sprintf("lost-%02d", i)] = thinpool.Volume{Name: fmt.Sprintf("lost-%02d", i)}
	}
	h.pool.created["known"] = thinpool.Volume{Name: "known"}
	h.pool.created["csi-0a"] = thinpool.Volume{Name: "csi-0a", Owner: "pods/a/volumes/kubernetes.io~csi/x/mount"} // a pod's, which has none
	h.pool.status.OwnedVolumes, h.pool.status.OwnedBytes = 1, 5<<20
	if _, err := h.reconcilePool(); err != nil {
		t.Fatal(err)
	}
	status := h.cluster.pool(testPool).Status
	found := condition(t, status.Conditions, "NoOrphanedVolumes")
	if found.Status != metav1.ConditionFalse || found.Reason != "OrphanedVolumes" || status.OrphanedVolumes != 12 {
		t.Errorf("%+v, %d in the status", found, status.OrphanedVolumes)
	}
	if !contains(found.Message, "12 volumes") || !contains(found.Message, "lost-00, lost-01,") || !contains(found.Message, "lost-09 and 2 more") || contains(found.Message, "known") || contains(found.Message, "csi-0a") {
		t.Errorf("it says %q", found.Message)
	}
	if count, known := h.pools.orphans.get("fast"); count != 12 || !known {
		t.Errorf("%d counted, known %t", count, known)
	}
	if h.pool.deletes > 0 {
		t.Error("a volume was deleted")
	}
	if status.InlineVolumeBytes == nil || status.InlineVolumeBytes.Value() != 5<<20 {
		t.Errorf("inline volumes take %s", status.InlineVolumeBytes)
	}
	clear(h.pool.created)
	if _, err := h.reconcilePool(); err != nil {
		t.Fatal(err)
	}
	status = h.cluster.pool(testPool).Status
	if found := condition(t, status.Conditions, "NoOrphanedVolumes"); found.Status != metav1.ConditionTrue || status.OrphanedVolumes != 0 {
		t.Errorf("%+v, %d in the status", found, status.OrphanedVolumes)
	}
}

func TestStatusIsWrittenOnlyForAReason(t *testing.T) {
	h := newHarness(t, poolObject(nil))
	reconcile := func() (wait time.Duration) {
		t.Helper()
		result, err := h.reconcilePool()
		if err != nil {
			t.Fatal(err)
		}
		return result.RequeueAfter
	}
	reconcile()
	for range 3 {
		if wait := reconcile(); wait != 0 || h.statusWrites != 1 {
			t.Fatalf("nothing changed: %d writes, look again in %v", h.statusWrites, wait)
		}
	}
	// Little: it waits, and is written in time.
	h.pool.status.Data.Used += 5 << 20
	h.pool.status.Volumes++
	h.pool.status.PromisedBytes += 1 << 30
	if wait := reconcile(); wait <= 0 || wait > minorInterval || h.statusWrites != 1 {
		t.Errorf("a small change: %d writes, look again in %v", h.statusWrites, wait)
	}
	h.pools.writes.last[testPool] = time.Now().Add(-minorInterval)
	if wait := reconcile(); wait != 0 || h.statusWrites != 2 {
		t.Errorf("a small change that is due: %d writes, look again in %v", h.statusWrites, wait)
	}
	// Much.
	h.pool.status.Data.Used += 20 << 20
	if reconcile(); h.statusWrites != 3 {
		t.Errorf("a change of 2%%: %d writes", h.statusWrites)
	}
	h.pool.status.Mode = thinpool.ModeOutOfDataSpace
	if reconcile(); h.statusWrites != 4 {
		t.Errorf("another mode: %d writes", h.statusWrites)
	}
	h.pool.status.Volumes++
	h.pools.refresh("fast")
	if reconcile(); h.statusWrites != 5 {
		t.Errorf("a change that somebody waits for: %d writes", h.statusWrites)
	}
}

func TestPoolWithAnotherIdentityIsNotTheOne(t *testing.T) {
	h := newHarness(t, readyPool(nil), volumeObject("new", nil))
	h.pool.status.PoolID = "ffffffffffffffffffffffffffffffff"
	if _, err := h.reconcilePool(); err != nil {
		t.Fatal(err)
	}
	status := h.cluster.pool(testPool).Status
	if ready := condition(t, status.Conditions, "Ready"); ready.Reason != "SourceChanged" || status.PoolID != testID {
		t.Errorf("status is %+v", status)
	}
	if _, err := h.reconcileVolume("new"); err != nil {
		t.Fatal(err)
	}
	if h.pool.creates > 0 {
		t.Error("a volume was made in a pool that is not the one")
	}
}

func TestBadSettings(t *testing.T) {
	for field, change := range map[string]func(*v1alpha1.PoolSettings){
		"spec.blockSize":       func(s *v1alpha1.PoolSettings) { s.BlockSize = "many" },
		"spec.minFreeSpace":    func(s *v1alpha1.PoolSettings) { s.MinFreeSpace = "100%" },
		"spec.source.loopback": func(s *v1alpha1.PoolSettings) { s.Source = v1alpha1.PoolSource{Loopback: &v1alpha1.LoopbackSource{}} },
		"spec.source.loopback.size": func(s *v1alpha1.PoolSettings) {
			s.Source = v1alpha1.PoolSource{Loopback: &v1alpha1.LoopbackSource{Size: "-1"}}
		},
	} {
		t.Run(field, func(t *testing.T) {
			h := newHarness(t, poolObject(func(p *v1alpha1.NodeThinPool) { change(&p.Spec.PoolSettings) }))
			if field == "spec.source.loopback.size" {
				h.pools.directories.loopback = t.TempDir()
			}
			if _, err := h.reconcilePool(); err == nil {
				t.Error("no error")
			}
			ready := condition(t, h.cluster.pool(testPool).Status.Conditions, "Ready")
			if ready.Reason != "Invalid" || h.opens != 0 || !contains(ready.Message, field+":") {
				t.Errorf("ready is %+v, opened %d times", ready, h.opens)
			}
		})
	}
}

func TestPoolRemoval(t *testing.T) {
	now := metav1.Now()
	deleting := func(p *v1alpha1.NodeThinPool) { p.DeletionTimestamp = &now }

	t.Run("waits for volumes", func(t *testing.T) {
		h := newHarness(t, readyPool(deleting), volumeObject("v", nil))
		if _, err := h.reconcilePool(); err != nil {
			t.Fatal(err)
		}
		admitting := condition(t, h.cluster.pool(testPool).Status.Conditions, "Admitting")
		if admitting.Reason != "Deleting" || h.pool.down {
			t.Errorf("admitting is %+v, shut down: %t", admitting, h.pool.down)
		}
		if _, err := h.set.Get("fast"); err != nil {
			t.Errorf("its volumes cannot be reached: %v", err)
		}
		if _, err := h.reconcileVolume("v"); err != nil || h.pool.creates > 0 {
			t.Errorf("a volume was made in a pool that goes: %v", err)
		}
	})
	t.Run("waits for a pod's inline volume", func(t *testing.T) {
		h := newHarness(t, readyPool(deleting))
		h.openPool()
		h.pool.created["csi-0a"] = thinpool.Volume{Name: "csi-0a", Owner: "pods/a/volumes/kubernetes.io~csi/x/mount"}
		if _, err := h.reconcilePool(); err != nil {
			t.Fatal(err)
		}
		admitting := condition(t, h.cluster.pool(testPool).Status.Conditions, "Admitting")
		if admitting.Reason != "Deleting" || !contains(admitting.Message, "1 volumes") || h.pool.down {
			t.Errorf("admitting is %+v, shut down: %t", admitting, h.pool.down)
		}
		clear(h.pool.created)
		if _, err := h.reconcilePool(); err != nil || !h.pool.down {
			t.Errorf("the pod is gone: %v, shut down: %t", err, h.pool.down)
		}
	})
	t.Run("shuts down", func(t *testing.T) {
		h := newHarness(t, readyPool(deleting))
		if _, err := h.reconcilePool(); err != nil {
			t.Fatal(err)
		}
		if h.cluster.pool(testPool) != nil || !h.pool.down || len(h.pools.remembered.names()) != 0 || h.writes != 1 {
			t.Errorf("object %v, down %t, remembered %v, writes %d", h.cluster.pool(testPool), h.pool.down, h.pools.remembered.names(), h.writes)
		}
	})
	t.Run("is in use", func(t *testing.T) {
		h := newHarness(t, readyPool(deleting))
		h.pool.shutdown = thinpool.ErrVolumeInUse
		if _, err := h.reconcilePool(); !errors.Is(err, thinpool.ErrVolumeInUse) {
			t.Errorf("got %v", err)
		}
		if h.cluster.pool(testPool) == nil || len(h.pools.remembered.names()) != 1 {
			t.Error("it is forgotten although it is there")
		}
	})
	t.Run("device is gone", func(t *testing.T) {
		h := newHarness(t, readyPool(deleting))
		h.openErr = thinpool.ErrDeviceNotFound
		if _, err := h.reconcilePool(); err != nil || h.cluster.pool(testPool) != nil {
			t.Errorf("the object of a pool without a device stays: %v", err)
		}
	})
	t.Run("cannot be read now", func(t *testing.T) {
		h := newHarness(t, readyPool(deleting))
		h.openErr = unix.EIO
		if _, err := h.reconcilePool(); !errors.Is(err, unix.EIO) || h.cluster.pool(testPool) == nil {
			t.Errorf("got %v", err)
		}
	})
	t.Run("was never made", func(t *testing.T) {
		h := newHarness(t, poolObject(deleting))
		if _, err := h.reconcilePool(); err != nil || h.cluster.pool(testPool) != nil || h.opens != 0 {
			t.Errorf("got %v, opened %d times", err, h.opens)
		}
	})
}
