package admin

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// WritePools writes pools as docker info wrote its storage driver's: one line "Name: value" for each figure.
func WritePools(w io.Writer, pools []PoolInfo) error {
	if len(pools) == 0 {
		_, err := fmt.Fprintln(w, "This node has no pool: no ThinPool selects it.")
		return err
	}
	for i, pool := range pools {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		for _, line := range poolLines(pool) {
			if _, err := fmt.Fprintf(w, "%s: %s\n", line[0], line[1]); err != nil {
				return err
			}
		}
	}
	return nil
}

func poolLines(p PoolInfo) [][2]string {
	if p.NotOpen != "" {
		return [][2]string{{"Pool", p.Name}, {"Not Open", p.NotOpen}}
	}
	baseSizes, fileSystems := baseLines(p.Bases)
	lines := [][2]string{
		{"Pool", p.Name},
		{"Pool Name", p.DeviceName},
		{"Pool ID", p.PoolID},
		{"Pool Blocksize", Size(p.BlockSize)},
		{"Base Device Size", baseSizes},
		{"Backing Filesystem", fileSystems},
		{"Data file", strings.Join(p.DataFiles, ", ")},
		{"Metadata file", p.MetadataFile},
	}
	if p.DataLoopFile != "" {
		lines = append(lines, [2]string{"Data loop file", p.DataLoopFile}, [2]string{"Metadata loop file", p.DataLoopFile})
	}
	lines = append(lines, [][2]string{
		{"Data Space Used", Size(p.Data.Used)},
		{"Data Space Total", Size(p.Data.Total)},
		{"Data Space Available", Size(p.Data.Available)},
		{"Metadata Space Used", Size(p.Metadata.Used)},
		{"Metadata Space Total", Size(p.Metadata.Total)},
		{"Metadata Space Available", Size(p.Metadata.Available)},
		{"Thin Pool Minimum Free Space", Size(p.MinimumFree)},
		{"Base Space Used", Size(p.BaseBytes)},
		{"Promised Space", Size(p.PromisedBytes)},
		{"Volumes", fmt.Sprint(p.Volumes)},
		{"Lost Volumes", fmt.Sprint(p.LostVolumes)},
		{"Unknown Thin Devices", fmt.Sprint(p.UnknownDevices)},
		{"Snapshot Budget", fmt.Sprint(p.SnapshotBudget)},
		{"Mode", p.Mode},
		{"Needs Check", fmt.Sprint(p.NeedsCheck)},
		{"Admitting", admitting(p)},
		{"Udev Sync Supported", fmt.Sprintf("not needed (udev running: %t)", p.UdevRunning)},
		{"Deferred Removal Enabled", fmt.Sprint(p.DeferredRemovalEnabled)},
		{"Deferred Removed Device Count", fmt.Sprint(p.DeferredRemovedDeviceCount)},
		{"Deferred Deletion Enabled", fmt.Sprint(p.DeferredDeletionEnabled)},
		{"Deferred Deleted Device Count", fmt.Sprint(p.DeferredDeletedDeviceCount)},
		{"Library Version", fmt.Sprintf("device mapper %s, thin-pool %s (kernel)", p.DeviceMapperVersion, p.ThinPoolVersion)},
	}...)
	return lines
}

func admitting(p PoolInfo) string {
	if p.Admitting {
		return "true"
	}
	return "false (" + p.AdmissionReason + ")"
}

// baseLines lists each size and each file system of the bases once; they are ordered by both.
func baseLines(bases []Base) (sizes, fileSystems string) {
	if len(bases) == 0 {
		return "no base yet", "no base yet"
	}
	var all, types []string
	for _, base := range bases {
		all = append(all, fmt.Sprintf("%s (%s)", Size(base.Size), base.FSType))
		types = append(types, base.FSType)
	}
	return strings.Join(slices.Compact(all), ", "), strings.Join(slices.Compact(types), ", ")
}

// WriteVolumes writes volumes as a table.
func WriteVolumes(w io.Writer, volumes []VolumeInfo) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	// A writer of a table reports what went wrong when it is flushed.
	_, _ = fmt.Fprintln(table, "NAME\tPOOL\tTHIN ID\tSIZE\tFSTYPE\tMKFS OPTIONS")
	for _, v := range volumes {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\n", v.Name, v.Pool, v.ThinID, Size(v.Size), cmp.Or(v.FSType, "(block)"), strings.Join(v.MkfsOptions, " "))
	}
	return table.Flush()
}

// Size writes bytes for people, in powers of 1,024 with at most three decimals.
func Size(bytes int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	value, unit := float64(bytes), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	text := fmt.Sprintf("%.3f", value)
	text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	return text + " " + units[unit]
}
