package parameters_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/parameters"
)

// TestSnapshotClass: a VolumeSnapshotClass has no parameters, but the sidecar may say what it works for.
func TestSnapshotClass(t *testing.T) {
	for _, known := range []map[string]string{nil, {
		"csi.storage.k8s.io/volumesnapshot/name": "a", "csi.storage.k8s.io/volumesnapshot/namespace": "b",
		"csi.storage.k8s.io/volumesnapshotcontent/name": "c",
	}} {
		if err := parameters.ParseSnapshotClass(known); err != nil {
			t.Error(err)
		}
	}
	for _, key := range []string{"", "csi-dm.io/pool", "csi.storage.k8s.io/fstype", "snapshotType"} {
		err := parameters.ParseSnapshotClass(map[string]string{key: "x"})
		var unknown *parameters.UnknownKeyError
		if !errors.As(err, &unknown) || unknown.Key != key || !strings.Contains(err.Error(), "none is allowed") {
			t.Errorf("key %q: %v", key, err)
		}
	}
}
