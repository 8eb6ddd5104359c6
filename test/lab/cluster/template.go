package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/csi-dm/csi-dm/test/lab/control"
)

// templateVersion rises with every change to how a template is made or to what a node expects on it.
const templateVersion = 1

// systemTemplate returns a system disk that has the lab's images in its containerd, made now if there is none with just
// these images of this containerd. Importing them into each node of each lab would take longer than all else.
func (s *supervisor) systemTemplate(ctx context.Context) (string, error) {
	s.template.Lock()
	defer s.template.Unlock()
	template := filepath.Join(s.config.Templates, "system-"+s.config.templateKey()+".disk")
	if _, err := os.Stat(template); err == nil {
		return template, nil
	}
	// Those of other images are of no use any more and take half a gigabyte each.
	old, err := filepath.Glob(filepath.Join(s.config.Templates, "*.disk"))
	if err != nil {
		return "", err
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	if err := os.MkdirAll(s.config.Templates, 0o755); err != nil {
		return "", err
	}
	s.report("loading images into a template of the nodes' system disk")
	if err := s.makeTemplate(ctx, template); err != nil {
		return "", fmt.Errorf("template of the nodes' system disk: %w", err)
	}
	return template, nil
}

// makeTemplate boots a node that no kubelet will ever run on, loads the images, and turns it off in good order.
func (s *supervisor) makeTemplate(ctx context.Context, template string) error {
	// Nodes that are added take numbers from 0.
	node, err := newNode(ctx, s.config, s.plane, maximumNodes, control.NodeOptions{Name: "template", MemoryBytes: control.DefaultMemory})
	if err != nil {
		return err
	}
	unfinished := filepath.Join(s.config.Disks, "template")
	if err := os.MkdirAll(s.config.Disks, 0o755); err != nil {
		return err
	}
	if err := formatSystemDisk(ctx, unfinished); err != nil {
		return err
	}
	defer os.Remove(unfinished)
	node.disks = []string{unfinished}
	guest, err := node.start(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := whilePowered(ctx, node.options.Name, guest)
	defer cancel()
	if _, err := awaitAgent(ctx, node); err != nil {
		return errors.Join(err, guest.PowerCut())
	}
	if err := node.load(ctx, s.config.Images); err != nil {
		return errors.Join(err, guest.PowerCut())
	}
	node.agent.turnOff(ctx)
	if err := guest.Wait(); err != nil {
		return err
	}
	return os.Rename(unfinished, template)
}

// templateKey identifies everything that is on a template. The names of archives and programs hold hashes of their content.
func (c Config) templateKey() string {
	digest := sha256.New()
	fmt.Fprintln(digest, templateVersion, systemDiskSize, filepath.Base(c.Programs.Containerd))
	for _, archive := range c.Images {
		fmt.Fprintln(digest, filepath.Base(archive))
	}
	return hex.EncodeToString(digest.Sum(nil))[:12]
}
