//go:build kernel

package csi

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// copyOf makes a volume that begins with what the pool holds of another one now.
func (v *volume) copyOf(name string) *volume {
	v.t.Helper()
	if _, err := v.pool().CreateVolume(v.context(), thinpool.VolumeSpec{Name: name, Source: v.id}); err != nil {
		v.t.Fatal(err)
	}
	return v.known(name, filesystem.Type(v.fsType))
}

// TestRootModeOfAVolume: a fresh volume begins with the mode of its class, seen in the pod; what the pod makes of it stays, in
// copies too, whatever their class says.
func TestRootModeOfAVolume(t *testing.T) {
	for _, fsType := range filesystem.Types {
		t.Run(string(fsType), func(t *testing.T) {
			v := newFixture(t).volume("pvc-1", fsType)
			shown := func(v *volume, mode string, change os.FileMode) os.FileMode {
				t.Helper()
				request := v.stageRequest()
				request.VolumeContext[v1alpha1.ParameterRootMode] = mode
				_, err := v.NodeStageVolume(v.context(), request)
				must(t, err)
				must(t, v.publish("pod-1"))
				if change != 0 {
					must(t, os.Chmod(v.target("pod-1"), change))
				}
				info, err := os.Stat(v.target("pod-1"))
				must(t, err)
				must(t, v.unpublish("pod-1"))
				must(t, v.unstage())
				v.nothingLeft()
				return info.Mode() & (os.ModePerm | os.ModeSetgid | os.ModeSticky)
			}
			if mode := shown(v, "2770", 0); mode != 0o770|os.ModeSetgid {
				t.Errorf("the mode is %v", mode)
			}
			shown(v, "2770", 0o711)
			if mode := shown(v, "2770", 0); mode != 0o711 {
				t.Errorf("the user's mode became %v", mode)
			}
			if mode := shown(v.copyOf("pvc-copy"), "1777", 0); mode != 0o711 {
				t.Errorf("the copy's mode is %v", mode)
			}
		})
	}
}

// TestReaders: many read a copy of a volume that was in use, whose log is not replayed yet, also where the class mounts it
// read-only; nobody writes.
func TestReaders(t *testing.T) {
	for _, fsType := range filesystem.Types {
		t.Run(string(fsType), func(t *testing.T) {
			v := newFixture(t).volume("pvc-1", fsType)
			must(t, v.stage())
			must(t, v.publish("pod-1"))
			must(t, os.WriteFile(filepath.Join(v.target("pod-1"), "file"), []byte("content"), 0o600))
			reader := v.copyOf("pvc-copy")
			many := csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
			request := reader.stageRequest("ro")
			request.VolumeCapability.AccessMode.Mode = many
			_, err := reader.NodeStageVolume(reader.context(), request)
			must(t, err)
			for _, pod := range []string{"pod-1", "pod-2"} {
				must(t, reader.publish(pod, func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability.AccessMode.Mode = many }))
				if content, err := os.ReadFile(filepath.Join(reader.target(pod), "file")); string(content) != "content" {
					t.Errorf("%s reads %q, %v", pod, content, err)
				}
				if err := os.WriteFile(filepath.Join(reader.target(pod), "file"), nil, 0o600); !errors.Is(err, unix.EROFS) {
					t.Errorf("%s writes: %v", pod, err)
				}
				must(t, reader.unpublish(pod))
			}
			must(t, reader.unstage())
			must(t, v.unpublish("pod-1"))
			must(t, v.unstage())
			reader.nothingLeft()
			v.nothingLeft()
		})
	}
}

// TestSecurityLabel: a label is part of how a volume is staged. This kernel knows none, so a volume that is mounted has none
// either.
func TestSecurityLabel(t *testing.T) {
	v := newFixture(t).volume("pvc-1", filesystem.Ext4)
	const label = `context="system_u:object_r:container_file_t:s0:c15,c25"`
	refused(t, v.stage(label), codes.Internal, "fsconfig context")
	v.nothingLeft()
	must(t, v.stage())
	refused(t, v.stage(label), codes.AlreadyExists, "mount_flags", "c15,c25")
	refused(t, v.publish("pod-1", func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability = v.capability(label) }), codes.AlreadyExists, "mount_flags", "c15,c25")
	must(t, v.unstage())
	v.nothingLeft()
}
