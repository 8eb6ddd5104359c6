package lab

import (
	"context"
	"path/filepath"

	"github.com/csi-dm/csi-dm/test/lab/control"
)

// LoadImage loads a docker-archive, as "docker save" and "buildah push … docker-archive:" write it, into the containerd of
// every node that has power, and of every node that is booted or added later. An image of the same name is replaced. A copy of the file is kept.
func (l *Lab) LoadImage(ctx context.Context, archive string) error {
	path, err := filepath.Abs(archive)
	if err != nil {
		return err
	}
	return l.client.post(ctx, control.ImagesPath, control.LoadImageRequest{Archive: path}, nil)
}
