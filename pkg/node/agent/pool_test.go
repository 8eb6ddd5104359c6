package agent

import (
	"errors"
	"fmt"
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
	for name, test := range map[string]struct {
		change               func(*thinpool.Status)
		ready, admitting     string
		production           metav1.ConditionStatus
		readyStatus, admitOK metav1.ConditionStatus
	}{
		"healthy":   {func(*thinpool.Status) {}, "Ready", "Admitting", "True", "True", "True"},
		"full":      {func(s *thinpool.Status) { s.Mode = thinpool.ModeOutOfDataSpace; s.Admitting = false }, "Ready", "BelowMinFreeSpace", "True", "True", "False"},
		"low":       {func(s *thinpool.Status) { s.Admitting, s.AdmissionReason = false, "9% free" }, "Ready", "BelowMinFreeSpace", "True", "True", "False"},
		"read-only": {func(s *thinpool.Status) { s.Mode = thinpool.ModeReadOnly }, "PoolFailed", "PoolNotReady", "True", "False", "False"},
		"failed":    {func(s *thinpool.Status) { s.Mode = thinpool.ModeFailed }, "PoolFailed", "PoolNotReady", "True", "False", "False"},
		"check":     {func(s *thinpool.Status) { s.NeedsCheck = true }, "PoolFailed", "PoolNotReady", "True", "False", "False"},
		"loopback":  {func(s *thinpool.Status) { s.Loopback = true }, "Ready", "Admitting", "False", "True", "True"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, poolObject(nil))
			test.change(&h.pool.status)
			if _, err := h.reconcilePool(); err != nil {
				t.Fatal(err)
			}
			conditions := h.cluster.pool(testPool).Status.Conditions
			ready, admitting, production := condition(t, conditions, "Ready"), condition(t, conditions, "Admitting"), condition(t, conditions, "ProductionGrade")
			if ready.Reason != test.ready || ready.Status != test.readyStatus || admitting.Reason != test.admitting || admitting.Status != test.admitOK || production.Status != test.production {
				t.Errorf("conditions are %+v", conditions)
			}
		})
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
