package cluster

import (
	"reflect"
	"testing"
)

func TestParsePool(t *testing.T) {
	got, err := parsePool("0 8388608 thin-pool 253:1 253:2 128 6553 1 error_if_no_space",
		"0 8388608 thin-pool 5 22/4096 1630/65536 - rw discard_passdown error_if_no_space - 1024")
	want := PoolBlocks{Used: 1630, Total: 65536, Size: 65536}
	if err != nil || got != want {
		t.Fatalf("parsePool: %+v, %v: want %+v", got, err, want)
	}
	for _, status := range []string{"", "0 8 linear 253:1 0", "0 8 thin-pool Fail", "0 8 thin-pool 5 22/4096 x/y"} {
		if blocks, err := parsePool("0 8 thin-pool 253:1 253:2 128 0", status); err == nil {
			t.Errorf("parsePool of status %q: %+v and no error", status, blocks)
		}
	}
}

func TestDeviceMounts(t *testing.T) {
	mountinfo := `24 1 253:3 / /var/lib/kubelet/plugins/x/globalmount rw shared:3 - ext4 /dev/dm-3 rw
99 1 253:3 / /var/lib/kubelet/plugins/x/globalmount rw shared:9 - ext4 /dev/dm-3 rw
25 1 0:22 / /proc rw - proc proc rw
26 1 253:9 / /other rw - ext4 /dev/dm-9 rw`
	got := deviceMounts(mountinfo, map[string]string{"253:3": "csi-dm-volume"})
	if want := []string{"csi-dm-volume on /var/lib/kubelet/plugins/x/globalmount"}; !reflect.DeepEqual(got, want) {
		t.Fatalf("deviceMounts: %q: want %q", got, want)
	}
}

func TestBeyond(t *testing.T) {
	now, before := NodeState{Devices: []string{"pool", "volume"}, Mounts: []string{"m"}}, NodeState{Devices: []string{"pool"}, Mounts: []string{"m"}}
	if got := now.Beyond(before); got.Empty() || !reflect.DeepEqual(got.Devices, []string{"volume"}) || got.Mounts != nil {
		t.Fatalf("Beyond: %v", got)
	}
	if got := before.Beyond(now); !got.Empty() {
		t.Fatalf("Beyond of less: %v", got)
	}
}
