package admin

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// pool has a state that never was, to see it come out at the other end.
type pool struct{ pools.Pool }

func (pool) Status(context.Context) (thinpool.Status, error) {
	return thinpool.Status{
		PoolID: "0123", DeviceName: "csi-dm-fast-pool", BlockSize: 64 << 10, Mode: thinpool.ModeReadWrite,
		Data: thinpool.Space{Total: 100 << 30, Used: 1 << 30}, Metadata: thinpool.Space{Total: 64 << 20, Used: 1 << 20},
		BaseBytes: 8 << 20, PromisedBytes: 3 << 30, Volumes: 2, SnapshotBudget: 12345, PendingDeletions: 4, LostVolumes: 5, UnknownThinDevices: 6,
		AdmissionReason: "only 5% are free", Devices: []string{"/dev/vdb", "/dev/vdc"}, DataDevices: []string{"/dev/vdb", "/dev/vdc"}, MetadataDevice: "/dev/vdb", UdevRunning: true, DeviceMapperVersion: "4.47.0", ThinPoolVersion: "1.22.0",
	}, nil
}

func (pool) Bases() []thinpool.BaseInfo {
	return []thinpool.BaseInfo{
		{ThinID: 1, Size: 1 << 30, Format: filesystem.Format{Type: filesystem.Ext4}, MappedBytes: 5 << 20},
		{ThinID: 2, Size: 1 << 30, Format: filesystem.Format{Type: filesystem.Ext4, Options: []string{"-m", "0"}}},
		{ThinID: 5, Size: 10 << 30, Format: filesystem.Format{Type: filesystem.XFS}},
	}
}

func (pool) Volumes() []thinpool.Volume {
	return []thinpool.Volume{
		{Name: "pvc-1", ThinID: 3, Size: 1 << 30, Format: filesystem.Format{Type: filesystem.Ext4, Options: []string{"-m", "0"}}},
		{Name: "pvc-2", ThinID: 9, Size: 1 << 30, Format: filesystem.Format{Type: filesystem.Ext4}},
		{Name: "pvc-3", ThinID: 10, Size: 10 << 30, Format: filesystem.Format{Type: filesystem.XFS}},
	}
}

var (
	engine  = &fakeEngine{}
	changed = make(chan string, 8)
)

// serve serves a pool that is open and one that is not.
func serve(t *testing.T) (*Client, string) {
	t.Helper()
	set := pools.NewSet(func(_ context.Context, config thinpool.Config) (pools.Pool, error) {
		if config.Name == "fast" {
			return pool{}, nil
		}
		return nil, thinpool.ErrDeviceNotFound
	})
	if _, _, err := set.Open(t.Context(), thinpool.Config{Name: "fast", MinFreePercent: 10}); err != nil {
		t.Fatal(err)
	}
	_, _, _ = set.Open(t.Context(), thinpool.Config{Name: "slow"})
	socket := Socket(t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	server, err := Listen(ctx, socket, set, engine, func(name string) { changed <- name })
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left: %v", err)
		}
	})
	return NewClient(socket), socket
}

func TestPools(t *testing.T) {
	client, socket := serve(t)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode: %v, %v", info, err)
	}
	infos, err := client.Pools(t.Context())
	if err != nil || len(infos) != 2 {
		t.Fatalf("%+v, %v", infos, err)
	}
	if fast := infos[0]; fast.Name != "fast" || fast.Data.Available != 99<<30 || fast.MinimumFree != 10<<30 || fast.DeferredDeletedDeviceCount != 4 || len(fast.Bases) != 3 || fast.Bases[0].MappedBytes != 5<<20 {
		t.Errorf("fast is %+v", fast)
	}
	if slow := infos[1]; slow.Name != "slow" || slow.NotOpen != thinpool.ErrDeviceNotFound.Error() {
		t.Errorf("slow is %+v", slow)
	}

	var text bytes.Buffer
	if err := WritePools(&text, infos); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"Pool Name: csi-dm-fast-pool", "Pool Blocksize: 64 KiB", "Base Device Size: 1 GiB (ext4), 10 GiB (xfs)", "Backing Filesystem: ext4, xfs",
		"Data file: /dev/vdb, /dev/vdc", "Metadata file: /dev/vdb", "Data Space Used: 1 GiB", "Data Space Total: 100 GiB",
		"Data Space Available: 99 GiB", "Metadata Space Used: 1 MiB", "Metadata Space Total: 64 MiB", "Metadata Space Available: 63 MiB",
		"Thin Pool Minimum Free Space: 10 GiB", "Deferred Deleted Device Count: 4", "Udev Sync Supported: not needed (udev running: true)", "Admitting: false (only 5% are free)",
		"Library Version: device mapper 4.47.0, thin-pool 1.22.0 (kernel)", "Pool: slow", "Not Open: device not found",
	} {
		if !strings.Contains(text.String(), line+"\n") {
			t.Errorf("line %q is missing in\n%s", line, text.String())
		}
	}
	for _, name := range []string{"Deferred Removal Enabled", "Deferred Deletion Enabled"} {
		if !strings.Contains(text.String(), "\n"+name+": ") {
			t.Errorf("%q is missing in\n%s", name, text.String())
		}
	}
}

func TestVolumes(t *testing.T) {
	client, _ := serve(t)
	infos, err := client.Volumes(t.Context())
	if err != nil || len(infos) != 3 {
		t.Fatalf("%+v, %v", infos, err)
	}
	infos = append(infos, VolumeInfo{Name: "pvc-4", Pool: "fast", ThinID: 11, Size: 1 << 30})
	var text bytes.Buffer
	if err := WriteVolumes(&text, infos); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text.String(), "\n")
	for i, want := range [][]string{
		{"NAME", "POOL", "THIN", "ID", "SIZE", "FSTYPE", "MKFS", "OPTIONS"},
		{"pvc-1", "fast", "3", "1", "GiB", "ext4", "-m", "0"},
		{"pvc-2", "fast", "9", "1", "GiB", "ext4"},
		{"pvc-3", "fast", "10", "10", "GiB", "xfs"},
		{"pvc-4", "fast", "11", "1", "GiB", "(block)"},
	} {
		if got := strings.Fields(lines[i]); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("line %d is %v, want %v", i, got, want)
		}
	}
}

func TestAgentIsNotRunning(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "admin.sock")
	if _, err := NewClient(missing).Pools(t.Context()); !errors.Is(err, ErrNotRunning) || strings.Contains(err.Error(), "\n") {
		t.Errorf("no socket: %v", err)
	}
}

func TestSize(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0 B", 1: "1 B", 1023: "1023 B", 1024: "1 KiB", 65536: "64 KiB", 1536 << 20: "1.5 GiB", 1<<40 + 1: "1 TiB", 100 << 30: "100 GiB",
		10 << 10: "10 KiB", 1<<63 - 1: "8 EiB", 1000: "1000 B",
	} {
		if got := Size(bytes); got != want {
			t.Errorf("%d is %q, want %q", bytes, got, want)
		}
	}
}
