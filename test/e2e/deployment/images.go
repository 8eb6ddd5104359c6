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

// archive is a file to be loaded under a name.
type archive struct {
	reference, file string
}

// buildImages makes the two images, named by their content. The project's Dockerfile is built once for each content of its own;
// from then on a changed binary takes the place of the one in the images that were built.
func (d *Deployment) buildImages(ctx context.Context) error {
	binary, err := d.BuildProgram(ctx, "csi-dm", "./cmd/csi-dm")
	if err != nil {
		return err
	}
	dockerfile := filepath.Join(d.source, "Dockerfile")
	key, err := contentKey(binary, dockerfile)
	if err != nil {
		return err
	}
	d.images = Images{
		Controller: Image{"csi-dm.local/csi-dm-controller", key},
		Node:       Image{"csi-dm.local/csi-dm-node", key},
	}
	templates, err := d.buildDockerfile(ctx, dockerfile)
	if err != nil {
		return err
	}
	if err := removeAll(d.cacheFolder(), "top-*.tar"); err != nil {
		return err
	}
	d.archives = nil
	for _, part := range []struct {
		template string
		image    Image
	}{{templates.node, d.images.Node}, {templates.controller, d.images.Controller}} {
		parts, err := layers.Renew(part.template, binary, part.image.String(), part.image.Repository+"-base", d.cacheFolder())
		if err != nil {
			return fmt.Errorf("put the binary into %s: %w", part.template, err)
		}
		if parts.Base != "" {
			d.archives = append(d.archives, archive{parts.BaseReference, parts.Base})
		}
		d.archives = append(d.archives, archive{part.image.String(), parts.Top})
	}
	return nil
}

// templates are docker-archives of the images as the Dockerfile makes them.
type templates struct {
	controller, node string
}

// buildDockerfile builds the Dockerfile unless that was done for its present content.
func (d *Deployment) buildDockerfile(ctx context.Context, dockerfile string) (templates, error) {
	key, err := contentKey(dockerfile)
	if err != nil {
		return templates{}, err
	}
	kept := templates{
		controller: filepath.Join(d.cacheFolder(), "controller-"+key+".tar"), node: filepath.Join(d.cacheFolder(), "node-"+key+".tar"),
	}
	// The node's comes last.
	if _, err := os.Stat(kept.node); err == nil {
		return kept, nil
	}
	builder := image.NewBuilder(d.cluster.Lab.Paths().Cache, func(line string) { fmt.Fprintln(d.progress, line) })
	controller, node, err := builder.Product(ctx, image.Product{
		Source: d.source, Version: "0.0.0-" + key,
		Controller: "csi-dm.local/csi-dm-controller:template", Node: "csi-dm.local/csi-dm-node:template",
	})
	if err != nil {
		return templates{}, err
	}
	return kept, errors.Join(
		removeAll(d.cacheFolder(), "controller-*.tar"), removeAll(d.cacheFolder(), "node-*.tar"), removeAll(d.cacheFolder(), "base-*.tar"),
		os.Link(controller, kept.controller), os.Link(node, kept.node))
}

// cacheFolder is where what is built for the tests outlives them.
func (d *Deployment) cacheFolder() string { return filepath.Join(d.cluster.Lab.Paths().Cache, "e2e") }

// removeAll removes the files in folder whose names match.
func removeAll(folder, pattern string) error {
	files, err := filepath.Glob(filepath.Join(folder, pattern))
	for _, file := range files {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

// loadImages loads what the nodes do not have.
func (d *Deployment) loadImages(ctx context.Context) error {
	for _, archive := range d.archives {
		loaded, err := d.loaded(ctx, archive.reference)
		if err != nil {
			return err
		}
		if loaded {
			continue
		}
		if err := d.cluster.Lab.LoadImage(ctx, archive.file); err != nil {
			return fmt.Errorf("load %s: %w", archive.reference, err)
		}
	}
	return nil
}

// loaded tells whether every node has the image.
func (d *Deployment) loaded(ctx context.Context, reference string) (bool, error) {
	nodes, err := d.cluster.Lab.Nodes(ctx)
	if err != nil {
		return false, err
	}
	missing, errs := make([]bool, len(nodes)), make([]error, len(nodes))
	var group sync.WaitGroup
	for index, node := range nodes {
		group.Go(func() {
			output, err := node.Output(ctx, "ctr", "--namespace", "k8s.io", "images", "list", "--quiet", "name=="+reference)
			missing[index], errs[index] = strings.TrimSpace(output) != reference, err
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
