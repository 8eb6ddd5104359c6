package agent

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/monitor"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

func (p *scriptedPool) LostVolumes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

func (p *scriptedPool) ActiveDevice(context.Context, string) (string, error) { return "", nil }

// TestHealthIsWrittenOnChange: a volume that was always well gets no condition; one write when something is wrong, one when it
// is well again, none in between, and nothing else of the status is touched.
func TestHealthIsWrittenOnChange(t *testing.T) {
	h := newHarness(t, readyPool(nil), volumeObject("v", made), volumeObject("well", made), volumeObject("new", nil))
	h.openPool()
	reporter := healthReporter{client: h.cluster, pools: h.set, monitor: monitor.New(h.set, t.TempDir())}
	report := func(writes int, status metav1.ConditionStatus, reason string) {
		t.Helper()
		for range 3 {
			if err := reporter.report(t.Context(), "fast"); err != nil {
				t.Fatal(err)
			}
		}
		if h.statusWrites != writes {
			t.Errorf("%d writes, want %d", h.statusWrites, writes)
		}
		written := h.volume("v").Status
		condition := meta.FindStatusCondition(written.Conditions, v1alpha1.ConditionHealthy)
		switch {
		case status == "" && condition != nil:
			t.Errorf("a volume that was always well has %+v", condition)
		case status != "" && (condition == nil || condition.Status != status || condition.Reason != reason):
			t.Errorf("the condition is %+v, want %s %s", condition, status, reason)
		}
		if written.ThinID == nil || !meta.IsStatusConditionTrue(written.Conditions, v1alpha1.ConditionReady) {
			t.Errorf("the rest of the status is %+v", written)
		}
		for _, name := range []string{"well", "new"} {
			if meta.FindStatusCondition(h.volume(name).Status.Conditions, v1alpha1.ConditionHealthy) != nil {
				t.Errorf("volume %q has the condition", name)
			}
		}
	}
	report(0, "", "")
	h.pool.lost = []string{"v"}
	report(1, metav1.ConditionFalse, v1alpha1.ReasonVolumeLost)
	h.pool.lost = nil
	report(2, metav1.ConditionTrue, v1alpha1.ReasonHealthy)
}

// TestPoolHealth: the pool's condition says what its volumes suffer from; while the pool is opened there is nothing to say.
func TestPoolHealth(t *testing.T) {
	h := newHarness(t, poolObject(nil))
	for _, step := range []struct {
		change func()
		status metav1.ConditionStatus
		reason string
	}{
		{func() {}, metav1.ConditionTrue, v1alpha1.ReasonHealthy},
		{func() { h.pool.status.DeviceFault = "the data on /dev/vdb cannot be read" }, metav1.ConditionFalse, v1alpha1.ReasonDeviceUnreadable},
		{func() { h.pool.status.Mode = thinpool.ModeFailed }, metav1.ConditionFalse, v1alpha1.ReasonPoolFailed},
		{func() { h.pool.status = healthy() }, metav1.ConditionTrue, v1alpha1.ReasonHealthy},
	} {
		step.change()
		if _, err := h.reconcilePool(); err != nil {
			t.Fatal(err)
		}
		condition := meta.FindStatusCondition(h.cluster.pool(testPool).Status.Conditions, v1alpha1.ConditionHealthy)
		if condition == nil || condition.Status != step.status || condition.Reason != step.reason {
			t.Errorf("the condition is %+v, want %s %s", condition, step.status, step.reason)
		}
	}
	missing := newHarness(t, poolObject(nil))
	missing.openErr = &thinpool.Error{Op: "open", Pool: "fast", Err: thinpool.ErrDeviceNotFound}
	if _, err := missing.reconcilePool(); err == nil {
		t.Error("want the error")
	}
	condition := meta.FindStatusCondition(missing.cluster.pool(testPool).Status.Conditions, v1alpha1.ConditionHealthy)
	if condition == nil || condition.Status != metav1.ConditionFalse || condition.Reason != v1alpha1.ReasonDeviceNotFound {
		t.Errorf("the condition is %+v", condition)
	}
}
