package csi

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
)

// mounted opens a volume path and sees that the volume, and nothing else, is mounted there. It gives the root of the mount and
// the path of the volume's device.
func (n *Node) mounted(ctx context.Context, volume pools.Located, path string) (root *os.File, device string, err error) {
	root, err = n.config.Kubelet.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w: %w", errNotMounted, err)
	}
	if err != nil {
		return nil, "", inField(fieldVolumePath, err)
	}
	point, err := filesystem.Inspect(root)
	if err == nil && !point.Mounted {
		err = inField(fieldVolumePath, errNotMounted)
	}
	if err == nil {
		// It is active, being mounted: this only asks which device it is.
		device, err = volume.Pool.Activate(ctx, volume.Name)
	}
	if err == nil {
		if err = mountedHere(point, device); err != nil {
			err = inField(fieldVolumePath, fmt.Errorf("%w: %w", errNotMounted, err))
		}
	}
	if err != nil {
		_ = root.Close()
		return nil, "", err
	}
	return root, device, nil
}
