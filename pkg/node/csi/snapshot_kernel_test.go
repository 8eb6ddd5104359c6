//go:build kernel

package csi

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// TestStageRestoredBesideSource: a volume made from a snapshot of one that is in use is mounted beside it, although their file
// systems have one UUID, and holds what was in the log only, also where nobody may write: reading replays the log.
func TestStageRestoredBesideSource(t *testing.T) {
	for _, fsType := range filesystem.Types {
		t.Run(string(fsType), func(t *testing.T) {
			v := newFixture(t).volume("pvc-1", fsType)
			must(t, v.stage())
			file, err := os.Create(filepath.Join(v.staging, "file"))
			must(t, err)
			_, err = file.WriteString("content")
			must(t, err)
			must(t, file.Sync())
			must(t, file.Close())
			snapshot := volumeid.SnapshotDevice("snapshot-1")
			_, err = v.pool().CreateVolume(v.context(), thinpool.VolumeSpec{Name: snapshot, Source: v.id})
			must(t, err)
			for name, options := range map[string][]string{"pvc-2": {"ro"}, "pvc-3": nil} {
				_, err := v.pool().CreateVolume(v.context(), thinpool.VolumeSpec{Name: name, Source: snapshot})
				must(t, err)
				restored := &volume{fixture: v.fixture, id: name, fsType: v.fsType, staging: v.staging + name}
				must(t, os.Mkdir(restored.staging, 0o750))
				must(t, restored.stage(options...))
				if content, err := os.ReadFile(filepath.Join(restored.staging, "file")); string(content) != "content" {
					t.Errorf("%s %q: the file holds %q, %v", name, options, content, err)
				}
				err = os.WriteFile(filepath.Join(restored.staging, "own"), []byte(name), 0o600)
				if readOnly := len(options) > 0; (err != nil) != readOnly {
					t.Errorf("%s %q: writing: %v", name, options, err)
				}
				must(t, restored.unstage())
			}
			// The snapshot itself is nobody's volume.
			impostor := &volume{fixture: v.fixture, id: snapshot, fsType: v.fsType, staging: v.staging}
			refused(t, impostor.stage(), codes.InvalidArgument, "volume_id", ".snapshot")
			must(t, v.unstage())
			v.nothingLeft()
		})
	}
}
