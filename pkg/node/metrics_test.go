package node

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// statusOnly is a pool that tells one state.
type statusOnly struct {
	pools.Pool
	status thinpool.Status
}

func (p statusOnly) Status(context.Context) (thinpool.Status, error) { return p.status, nil }
func (p statusOnly) Close() error                                    { return nil }

// TestPoolMetrics: the states of space and mode are one gauge each that is 1 for the state of the moment.
func TestPoolMetrics(t *testing.T) {
	set := pools.NewSet(func(context.Context, thinpool.Config) (pools.Pool, error) {
		return statusOnly{status: thinpool.Status{
			Mode: thinpool.ModeOutOfDataSpace, Data: thinpool.Space{Total: 100, Used: 100, State: thinpool.SpaceFull},
			Metadata: thinpool.Space{Total: 10, Used: 1, State: thinpool.SpaceLow}, SnapshotBudget: 5,
		}}, nil
	})
	t.Cleanup(func() { _ = set.Close() })
	if _, _, err := set.Open(t.Context(), thinpool.Config{Name: "fast"}); err != nil {
		t.Fatal(err)
	}
	known := true
	collector := newPoolCollector(set, func(string) (int, bool) { return 3, known })
	want := `
		# HELP csi_dm_pool_orphaned_volumes Volumes that the pool holds and that have no ThinVolume.
		# TYPE csi_dm_pool_orphaned_volumes gauge
		csi_dm_pool_orphaned_volumes{pool="fast"} 3
		# HELP csi_dm_pool_snapshot_budget Snapshots that the pool can still make.
		# TYPE csi_dm_pool_snapshot_budget gauge
		csi_dm_pool_snapshot_budget{pool="fast"} 5
		# HELP csi_dm_pool_space_state 1 for the state of the pool's data and metadata space: OK, Low, Critical, Full.
		# TYPE csi_dm_pool_space_state gauge
		csi_dm_pool_space_state{pool="fast",space="data",state="Critical"} 0
		csi_dm_pool_space_state{pool="fast",space="data",state="Full"} 1
		csi_dm_pool_space_state{pool="fast",space="data",state="Low"} 0
		csi_dm_pool_space_state{pool="fast",space="data",state="OK"} 0
		csi_dm_pool_space_state{pool="fast",space="metadata",state="Critical"} 0
		csi_dm_pool_space_state{pool="fast",space="metadata",state="Full"} 0
		csi_dm_pool_space_state{pool="fast",space="metadata",state="Low"} 1
		csi_dm_pool_space_state{pool="fast",space="metadata",state="OK"} 0
	`
	names := []string{"csi_dm_pool_orphaned_volumes", "csi_dm_pool_snapshot_budget", "csi_dm_pool_space_state"}
	if err := testutil.CollectAndCompare(collector, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	known = false
	if n := testutil.CollectAndCount(collector, "csi_dm_pool_orphaned_volumes"); n != 0 {
		t.Error("a count that is not known is given")
	}
}
