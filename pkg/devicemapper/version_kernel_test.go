//go:build kernel

package devicemapper_test

import (
	"errors"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

func TestVersions(t *testing.T) {
	ctx, c := open(t)
	version, err := c.Version(ctx)
	if err != nil || version.Less(devicemapper.MinimumVersion) {
		t.Errorf("version %v, %v", version, err)
	}
	thinPool, err := c.RequireThinPool(ctx)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := c.TargetVersions(ctx)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]devicemapper.Version)
	for _, target := range targets {
		found[target.Type] = target.Version
	}
	if found["thin-pool"] != thinPool || found["linear"] == (devicemapper.Version{}) || len(found) != len(targets) {
		t.Errorf("targets %v, thin-pool %v", targets, thinPool)
	}
	t.Logf("interface %v, thin-pool %v", version, thinPool)

	var unsupported *devicemapper.UnsupportedError
	if _, err := c.TargetVersion(ctx, "no-such-target"); !errors.As(err, &unsupported) || !errors.Is(err, devicemapper.ErrUnsupported) {
		t.Errorf("version of no target: %v", err)
	}
}
