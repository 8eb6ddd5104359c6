package node

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// mappedOnly is a pool that tells what its volumes map.
type mappedOnly struct {
	pools.Pool
	mapped map[string]int64
	err    error
}

func (p mappedOnly) Mapped(context.Context) (map[string]int64, error) { return p.mapped, p.err }

func TestVolumeMetrics(t *testing.T) {
	set := pools.NewSet(func(_ context.Context, config thinpool.Config) (pools.Pool, error) {
		if config.Name == "failed" {
			return mappedOnly{err: thinpool.ErrPoolFailed}, nil
		}
		return mappedOnly{mapped: map[string]int64{"pvc-1": 4096, "pvc-2": 0}}, nil
	})
	for _, name := range []string{"fast", "failed"} {
		if _, _, err := set.Open(t.Context(), thinpool.Config{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	set.Expect("missing", thinpool.ErrDeviceNotFound)
	want := `
		# HELP csi_dm_volume_allocated_bytes Pool space that a volume's data takes, what it shares included; of volumes that are staged.
		# TYPE csi_dm_volume_allocated_bytes gauge
		csi_dm_volume_allocated_bytes{pool="fast",volume="pvc-1"} 4096
		csi_dm_volume_allocated_bytes{pool="fast",volume="pvc-2"} 0
	`
	if err := testutil.CollectAndCompare(newVolumeCollector(set), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
