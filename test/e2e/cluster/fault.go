package cluster

import (
	"context"
	"fmt"
	"strings"

	"github.com/csi-dm/csi-dm/test/lab"
)

// FailDevice has a device mapper device of a node give nothing but errors, and returns the function that gives it back its table.
// What is written meanwhile is lost.
func (c *Cluster) FailDevice(ctx context.Context, nodeName, device string) (restore func(context.Context) error, err error) {
	node, err := c.Lab.Node(ctx, nodeName)
	if err != nil {
		return nil, err
	}
	table, err := dmsetup(ctx, node, "table", device)
	if err != nil {
		return nil, err
	}
	table = strings.TrimSpace(table)
	sectors := int64(0)
	for line := range strings.Lines(table) {
		var start, length int64
		if _, err := fmt.Sscanf(line, "%d %d", &start, &length); err != nil {
			return nil, fmt.Errorf("table of %s: %q: %w", device, line, err)
		}
		sectors = max(sectors, start+length)
	}
	restore = func(ctx context.Context) error { return reload(ctx, node, device, table) }
	return restore, reload(ctx, node, device, fmt.Sprintf("0 %d error", sectors))
}

// reload exchanges a device's table without waiting for what is under way.
func reload(ctx context.Context, node *lab.Node, device, table string) error {
	for _, arguments := range [][]string{
		{"load", device, "--table", table}, {"suspend", "--noflush", "--nolockfs", device}, {"resume", device},
	} {
		if _, err := dmsetup(ctx, node, arguments...); err != nil {
			return err
		}
	}
	return nil
}
