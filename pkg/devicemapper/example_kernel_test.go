//go:build kernel

package devicemapper_test

import (
	"testing"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// The documentation's example does what it says.
func TestExample(t *testing.T) {
	ctx, _ := open(t)
	if err := snapshotOfBase(ctx, disk(t, 16*mebibyte), disk(t, 64*mebibyte), devicemapper.SectorsOf(64*mebibyte)); err != nil {
		t.Fatal(err)
	}
}
