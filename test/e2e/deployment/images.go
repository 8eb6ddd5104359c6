package deployment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/csi-dm/csi-dm/test/e2e/deployment/layers"
	"github.com/csi-dm/csi-dm/test/lab/image"
)

// Image is an image's name.
type Image struct {
	Repository, Tag string
}

func (i Image) String() string { return i.Repository + ":" + i.Tag }

// Images are the driver's two images.
type Images struct {
	Controller, Node Image
}

// archives are what has to be loaded for the images: the part of the node's image that stays the same from one binary to the
// next, under a name of its own, and the two images.
type archives struct {
	base     Image
	baseFile string
	node     string
	control  string
}

// buildImages builds the two images of the project's Dockerfile, named by their content.
func (d *Deployment) buildImages(ctx context.Context) error {
	binary, err := d.BuildProgram(ctx, "csi-dm", "./cmd/csi-dm")
	if err != nil {
		return err
	}
	key, err := contentKey(binary, filepath.Join(d.source, "Dockerfile"))
	if err != nil {
		return err
	}
	d.images = Images{
		Controller: Image{"csi-dm.local/csi-dm-controller", key},
		Node:       Image{"csi-dm.local/csi-dm-node", key},
	}
	cache := d.cluster.Lab.Paths().Cache
	builder := image.NewBuilder(cache, func(line string) { fmt.Fprintln(d.progress, line) })
	controller, node, err := builder.Product(ctx, image.Product{
		Source: d.source, Version: "0.0.0-" + key, Controller: d.images.Controller.String(), Node: d.images.Node.String(),
	})
	if err != nil {
		return err
	}
	split, err := layers.Split(node, d.images.Node.String(), "csi-dm.local/csi-dm-node-base", filepath.Join(cache, "e2e"))
	if err != nil {
		return fmt.Errorf("split %s: %w", node, err)
	}
	// The builder keeps one archive of a kind, and another process may build.
	control := filepath.Join(cache, "e2e", "controller.tar")
	if err := errors.Join(os.RemoveAll(control), os.Link(controller, control)); err != nil {
		return err
	}
	repository, tag, _ := strings.Cut(split.BaseReference, ":")
	d.archives = archives{base: Image{repository, tag}, baseFile: split.Base, node: split.Top, control: control}
	return nil
}

// loadImages loads what the nodes do not have.
func (d *Deployment) loadImages(ctx context.Context) error {
	for _, load := range []struct {
		image   Image
		archive string
	}{
		{d.archives.base, d.archives.baseFile},
		{d.images.Node, d.archives.node},
		{d.images.Controller, d.archives.control},
	} {
		loaded, err := d.loaded(ctx, load.image)
		if err != nil {
			return err
		}
		if loaded {
			continue
		}
		if err := d.cluster.Lab.LoadImage(ctx, load.archive); err != nil {
			return fmt.Errorf("load %s: %w", load.image, err)
		}
	}
	return nil
}

// loaded tells whether every node has the image.
func (d *Deployment) loaded(ctx context.Context, image Image) (bool, error) {
	nodes, err := d.cluster.Lab.Nodes(ctx)
	if err != nil {
		return false, err
	}
	missing, errs := make([]bool, len(nodes)), make([]error, len(nodes))
	var group sync.WaitGroup
	for index, node := range nodes {
		group.Go(func() {
			output, err := node.Output(ctx, "ctr", "--namespace", "k8s.io", "images", "list", "--quiet", "name=="+image.String())
			missing[index], errs[index] = strings.TrimSpace(output) != image.String(), err
		})
	}
	group.Wait()
	for _, absent := range missing {
		if absent {
			return false, errors.Join(errs...)
		}
	}
	return true, errors.Join(errs...)
}
