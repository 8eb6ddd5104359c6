package admin

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/csi-dm/csi-dm/pkg/node/pools"
)

const usagePath = "/v1/usage"

// usageLimit bounds a question after the usage: all metadata of all pools is read for it.
const usageLimit = 5 * time.Minute

// PoolUsage is how a pool's data is divided. Sizes are bytes.
type PoolUsage struct {
	Pool string `json:"pool"`
	// NotRead says why there are no figures; then everything else is empty.
	NotRead string        `json:"notRead,omitempty"`
	Volumes []VolumeUsage `json:"volumes"`
	Bases   []BaseUsage   `json:"bases"`
	// Deleting is what deleted volumes and bases still hold, Others what all other thin devices of the pool do.
	Deleting Usage `json:"deleting"`
	Others   Usage `json:"others"`
	// SharedBytes is what more than one thin device holds, each block counted once.
	SharedBytes int64 `json:"sharedBytes"`
}

// Usage is what of the pool's data is mapped, how much of that is shared with others, and how much deleting would give back.
type Usage struct {
	Mapped    int64 `json:"mapped"`
	Shared    int64 `json:"shared"`
	Exclusive int64 `json:"exclusive"`
}

// VolumeUsage is what a volume holds.
type VolumeUsage struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	Usage
}

// BaseUsage is what a formatted base holds, of which volumes are snapshots.
type BaseUsage struct {
	FSType string `json:"fsType"`
	Size   int64  `json:"size"`
	Usage
}

// Usages reads the usage of all pools that the node should have, by name.
func Usages(ctx context.Context, set *pools.Set) []PoolUsage {
	all := []PoolUsage{}
	for _, name := range set.Names() {
		usage, err := readUsage(ctx, set, name)
		if err != nil {
			usage = PoolUsage{Pool: name, NotRead: err.Error()}
		}
		all = append(all, usage)
	}
	return all
}

func readUsage(ctx context.Context, set *pools.Set, name string) (PoolUsage, error) {
	pool, err := set.Get(name)
	if err != nil {
		return PoolUsage{}, err
	}
	read, err := pool.Usage(ctx)
	if err != nil {
		return PoolUsage{}, err
	}
	usage := PoolUsage{
		Pool: name, Volumes: []VolumeUsage{}, Bases: []BaseUsage{},
		Deleting: Usage(read.Deleting), Others: Usage(read.Others), SharedBytes: read.SharedBytes,
	}
	sizes := map[string]int64{}
	for _, volume := range pool.Volumes() {
		sizes[volume.Name] = volume.Size
	}
	for _, volume := range slices.Sorted(maps.Keys(read.Volumes)) {
		if size, ok := sizes[volume]; ok { // else it was deleted meanwhile
			usage.Volumes = append(usage.Volumes, VolumeUsage{Name: volume, Size: size, Usage: Usage(read.Volumes[volume])})
		}
	}
	for _, base := range read.Bases {
		usage.Bases = append(usage.Bases, BaseUsage{FSType: string(base.Format.Type), Size: base.Size, Usage: Usage(base.Usage)})
	}
	return usage, nil
}

// Usage gives what the volumes of all pools hold; ErrNotRunning if there is no agent.
func (c *Client) Usage(ctx context.Context) ([]PoolUsage, error) {
	var usages []PoolUsage
	err := c.get(ctx, usagePath, usageLimit, &usages)
	return usages, err
}

// UsageOf leaves of usages only a volume. An error says that there is none, and which pools could not be read.
func UsageOf(usages []PoolUsage, volume string) ([]PoolUsage, error) {
	var unread []string
	for _, pool := range usages {
		if pool.NotRead != "" {
			unread = append(unread, fmt.Sprintf("; pool %s could not be read: %s", pool.Pool, pool.NotRead))
		}
		for _, v := range pool.Volumes {
			if v.Name == volume {
				return []PoolUsage{{Pool: pool.Pool, Volumes: []VolumeUsage{v}, Bases: []BaseUsage{}}}, nil
			}
		}
	}
	return nil, fmt.Errorf("no volume %q on this node%s", volume, strings.Join(unread, ""))
}

// WriteUsage writes usages as a table. What is no volume stands in parentheses, and only where it holds anything.
func WriteUsage(w io.Writer, usages []PoolUsage) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	line := func(name, pool, size string, u Usage) {
		// A writer of a table reports what went wrong when it is flushed.
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", name, pool, size, Size(u.Mapped), Size(u.Shared), Size(u.Exclusive))
	}
	_, _ = fmt.Fprintln(table, "NAME\tPOOL\tSIZE\tMAPPED\tSHARED\tEXCLUSIVE")
	for _, pool := range usages {
		for _, v := range pool.Volumes {
			line(v.Name, pool.Pool, Size(v.Size), v.Usage)
		}
		for _, b := range pool.Bases {
			line("("+b.FSType+" base)", pool.Pool, Size(b.Size), b.Usage)
		}
		if pool.Deleting != (Usage{}) {
			line("(being deleted)", pool.Pool, "-", pool.Deleting)
		}
		if pool.Others != (Usage{}) {
			line("(others)", pool.Pool, "-", pool.Others)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, pool := range usages {
		if pool.NotRead != "" {
			if _, err := fmt.Fprintf(w, "Pool %s could not be read: %s\n", pool.Pool, pool.NotRead); err != nil {
				return err
			}
		}
	}
	return nil
}
