package node

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// operatedPool answers without doing anything.
type operatedPool struct {
	pools.Pool
	err error
}

func (p operatedPool) CreateVolume(context.Context, thinpool.VolumeSpec) (thinpool.Volume, error) {
	return thinpool.Volume{ThinID: 7}, p.err
}

func (p operatedPool) GrowVolume(context.Context, string, int64) (thinpool.Volume, error) {
	return thinpool.Volume{ThinID: 8}, p.err
}

func (p operatedPool) DeleteVolume(context.Context, string) error { return p.err }

// Each operation is counted once, under what came of it, and its answer passed on.
func TestOperations(t *testing.T) {
	registry := prometheus.NewRegistry()
	measures := newOperations(registry)
	broken := errors.New("broken")
	for _, want := range []error{nil, broken} {
		pool := measures.measure("fast", operatedPool{err: want})
		if v, err := pool.CreateVolume(t.Context(), thinpool.VolumeSpec{}); v.ThinID != 7 || !errors.Is(err, want) {
			t.Errorf("create: %+v, %v", v, err)
		}
		if v, err := pool.GrowVolume(t.Context(), "v", 1); v.ThinID != 8 || !errors.Is(err, want) {
			t.Errorf("grow: %+v, %v", v, err)
		}
		if err := pool.DeleteVolume(t.Context(), "v"); !errors.Is(err, want) {
			t.Errorf("delete: %v", err)
		}
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	seen := map[string]uint64{}
	for _, metric := range families[0].GetMetric() {
		labels := map[string]string{}
		for _, label := range metric.GetLabel() {
			labels[label.GetName()] = label.GetValue()
		}
		if labels["pool"] != "fast" {
			t.Errorf("labels are %v", labels)
		}
		seen[labels["operation"]+" "+labels["result"]] = metric.GetHistogram().GetSampleCount()
	}
	for _, operation := range []string{"create", "grow", "delete"} {
		if seen[operation+" success"] != 1 || seen[operation+" failure"] != 1 {
			t.Errorf("%s: %v", operation, seen)
		}
	}
}
