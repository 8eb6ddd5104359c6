package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/csi-dm/csi-dm/test/lab/cluster"
	"github.com/csi-dm/csi-dm/test/lab/control"
	"github.com/csi-dm/csi-dm/test/lab/filelock"
	"github.com/csi-dm/csi-dm/test/lab/image"
	"github.com/csi-dm/csi-dm/test/lab/toolchain"
)

// Up returns the lab that is up, or else brings one up on blank disks: it builds what is not in the cache, starts the control
// plane and the nodes and returns once a pod could be created, with every node Ready. A lab that is up is returned as it is, whatever the
// options say of its nodes. Up needs root.
func Up(ctx context.Context, options Options) (*Lab, error) {
	report := options.report
	l, err := Attach(ctx)
	if err == nil {
		report("the lab is up already")
		return l, nil
	}
	if !errors.Is(err, ErrNotRunning) {
		return nil, err
	}
	if err := checkRequirements(); err != nil {
		return nil, err
	}
	paths, err := DefaultPaths()
	if err != nil {
		return nil, err
	}
	release, err := filelock.Acquire(ctx, paths.lockFile())
	if err != nil {
		return nil, err
	}
	defer release()
	// Somebody else may have been faster.
	if l, err := Attach(ctx); err == nil {
		return l, nil
	}
	tools, archives, err := build(ctx, paths, report)
	if err != nil {
		return nil, err
	}
	// A lab that died on its own, with its machine for instance, left its files.
	if err := remove(ctx, paths); err != nil {
		return nil, err
	}
	nodes := options.Nodes
	if len(nodes) == 0 {
		nodes = []control.NodeOptions{{Name: "node-a"}, {Name: "node-b"}}
	}
	if err := launch(ctx, paths, cluster.Config{
		Run: paths.Run, Disks: paths.Disks, Templates: filepath.Join(paths.Cache, "templates"), Programs: programs(tools), Images: archives, Nodes: nodes,
	}, report); err != nil {
		// A control plane that did not start is of no use, its logs are.
		return nil, errors.Join(err, stop(context.WithoutCancel(ctx), paths))
	}
	return Attach(ctx)
}

// Build builds what a lab needs and is not in the cache: Kubernetes and the other programs, and the images. Up does so, too;
// who calls Build before has the quarter of an hour of a first time outside of the deadlines of tests.
func Build(ctx context.Context, options Options) error {
	if err := checkRequirements(); err != nil {
		return err
	}
	paths, err := DefaultPaths()
	if err != nil {
		return err
	}
	_, _, err = build(ctx, paths, options.report)
	return err
}

func build(ctx context.Context, paths Paths, report func(string)) (*toolchain.Toolchain, []string, error) {
	start := time.Now()
	tools, err := toolchain.Build(ctx, paths.Cache, report)
	if err != nil {
		return nil, nil, err
	}
	archives, err := image.Standard(ctx, tools, paths.Images())
	if err != nil {
		return nil, nil, err
	}
	if since := time.Since(start); since > time.Second {
		report(fmt.Sprintf("programs and images are there after %s", since.Round(100*time.Millisecond)))
	}
	return tools, archives, nil
}

func (o Options) report(line string) {
	if o.Progress != nil {
		fmt.Fprintln(o.Progress, line)
	}
}

// Down ends the lab and removes its files, the nodes' disks included. It is no error if there is none.
func Down(ctx context.Context) error {
	paths, err := DefaultPaths()
	if err != nil {
		return err
	}
	release, err := filelock.Acquire(ctx, paths.lockFile())
	if err != nil {
		return err
	}
	defer release()
	return remove(ctx, paths)
}

// remove is Down for whoever has the lock.
func remove(ctx context.Context, paths Paths) error {
	if err := stop(ctx, paths); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(paths.Run), os.RemoveAll(paths.Disks))
}

// Down ends the lab and removes its files, the nodes' disks included.
func (l *Lab) Down(ctx context.Context) error { return Down(ctx) }

func programs(tools *toolchain.Toolchain) cluster.Programs {
	return cluster.Programs{
		Kubernetes: tools.Program("kubernetes", "kubernetes"),
		Helm:       tools.Program("helm", "helm"),
		Sanity:     tools.Program("csi-sidecars", "csi-sanity"),
		Containerd: tools.Folder("containerd"),
		CNI:        tools.Folder("cni"),
		Lab:        tools.Own("lab"),
		Node:       tools.Own("lab-node"),
	}
}
