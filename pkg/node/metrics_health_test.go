package node

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/csi-dm/csi-dm/pkg/node/monitor"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// ailingPool is a pool with three volumes, one of them lost.
type ailingPool struct {
	statusOnly
}

func (ailingPool) Volumes() []thinpool.Volume {
	return []thinpool.Volume{{Name: "a"}, {Name: "b"}}
}
func (ailingPool) LostVolumes() []string                                { return []string{"c"} }
func (ailingPool) ActiveDevice(context.Context, string) (string, error) { return "", nil }

// TestHealthMetrics: what is wrong has a series, what is well has none; a pool's trouble is that of all of its volumes.
func TestHealthMetrics(t *testing.T) {
	status := thinpool.Status{Mode: thinpool.ModeReadWrite}
	set := pools.NewSet(func(context.Context, thinpool.Config) (pools.Pool, error) {
		return ailingPool{statusOnly{status: status}}, nil
	})
	t.Cleanup(func() { _ = set.Close() })
	expect := func(pool, want string) {
		t.Helper()
		if _, _, err := set.Open(t.Context(), thinpool.Config{Name: pool}); err != nil {
			t.Fatal(err)
		}
		if err := testutil.CollectAndCompare(newHealthCollector(set, monitor.New(set, t.TempDir())), strings.NewReader(want)); err != nil {
			t.Error(err)
		}
		if err := set.Close(); err != nil {
			t.Fatal(err)
		}
	}
	const lost = `
		# HELP csi_dm_volume_abnormal 1 for each thing that is wrong with a volume alone.
		# TYPE csi_dm_volume_abnormal gauge
		csi_dm_volume_abnormal{pool="fast",reason="VolumeLost",status="DataLoss",volume="c"} 1
		# HELP csi_dm_pool_abnormal_volumes Volumes of the pool with which something is wrong, that of the pool included.
		# TYPE csi_dm_pool_abnormal_volumes gauge
	`
	expect("fast", lost+`
		csi_dm_pool_abnormal_volumes{pool="fast"} 1
	`)
	status.Mode = thinpool.ModeReadOnly
	expect("fast", lost+`
		csi_dm_pool_abnormal_volumes{pool="fast"} 3
		# HELP csi_dm_pool_abnormal 1 for each thing that is wrong with a pool, and so with all of its volumes.
		# TYPE csi_dm_pool_abnormal gauge
		csi_dm_pool_abnormal{pool="fast",reason="PoolReadOnly",status="Degraded"} 1
	`)
}
