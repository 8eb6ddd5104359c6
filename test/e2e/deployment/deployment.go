package deployment

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

// Names of what is installed.
const (
	Namespace = "csi-dm"
	Release   = "csi-dm"
)

// Deployment is csi-dm in a lab's cluster.
type Deployment struct {
	cluster  *cluster.Cluster
	source   string
	images   Images
	archives []archive
	progress io.Writer
}

// New prepares a deployment from the work tree that the process runs in. Each step that took time is written to progress.
func New(ctx context.Context, c *cluster.Cluster, progress io.Writer) (*Deployment, error) {
	source, err := sourceFolder(ctx)
	if err != nil {
		return nil, err
	}
	return &Deployment{cluster: c, source: source, progress: progress}, nil
}

// Ensure makes the cluster run the driver of the work tree with a pool on each node, and returns once all of it is ready.
func (d *Deployment) Ensure(ctx context.Context) error {
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"images built", d.buildImages},
		{"images loaded into the nodes", d.loadImages},
		{"snapshot-controller running", d.installSnapshots},
		{"chart installed", func(ctx context.Context) error { return d.Install(ctx) }},
		{"driver running", d.AwaitRollout},
		{"thin pools ready", d.ensurePool},
	}
	for _, step := range steps {
		start := time.Now()
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Fprintf(d.progress, "%-40s %6.1f s\n", step.name, time.Since(start).Seconds())
	}
	return nil
}

// Images are the images that Ensure installed.
func (d *Deployment) Images() Images { return d.images }

// Chart is the folder of the chart.
func (d *Deployment) Chart() string { return filepath.Join(d.source, "charts", "csi-dm") }
