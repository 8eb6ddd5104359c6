package admin

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// WriteFound writes pools that labels tell of as a table, a line for each device.
func WriteFound(w io.Writer, pools []thinpool.FoundPool) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	// A writer of a table reports what went wrong when it is flushed.
	_, _ = fmt.Fprintln(table, "NAME\tPOOL ID\tSTATE\tBLOCKSIZE\tDEVICE\tPLACE\tSIZE\tIN USE")
	for _, pool := range pools {
		state := "ready"
		if err := pool.Complete(); err != nil {
			state = "incomplete"
		} else if !pool.Made {
			state = "never finished"
		}
		for _, device := range pool.Devices {
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d of %d\t%s\t%s\n", pool.Name, pool.PoolID, state, Size(pool.BlockSize), device.Path,
				device.Place+1, max(pool.Needed, device.Place+1), Size(device.Size), Size(device.UsedSize))
		}
	}
	return table.Flush()
}

// WriteChecks writes what checks have found: one line "Name: value" for each thing.
func WriteChecks(w io.Writer, reports []thinpool.CheckReport) error {
	var text strings.Builder
	for i, report := range reports {
		if i > 0 {
			text.WriteString("\n")
		}
		writeCheck(&text, report)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func writeCheck(text *strings.Builder, r thinpool.CheckReport) {
	line := func(name, value string) {
		fmt.Fprintf(text, "%s: %s\n", name, strings.ReplaceAll(value, "\n", "\n    "))
	}
	sound := func(damage string) string {
		if damage == "" {
			return "sound"
		}
		return "damaged\n" + damage
	}
	line("Pool", r.Pool)
	line("Pool ID", r.PoolID)
	if r.Active {
		line("Mode", string(r.Mode))
	} else {
		line("Mode", "not active")
	}
	line("Needs Check", fmt.Sprint(r.NeedsCheck))
	line("Metadata", sound(r.MetadataDamage))
	line("Registry", sound(r.RegistryDamage))
	line("Registry's File System", sound(r.FileSystemDamage))
	line("Volumes", fmt.Sprint(r.Volumes))
	line("Lost Volumes", fmt.Sprint(len(r.Lost)))
	for _, v := range r.Lost {
		fmt.Fprintf(text, "    %s, %s, thin id %d\n", v.Name, Size(v.Size), v.ThinID)
	}
	line("Unknown Thin Devices", fmt.Sprint(len(r.UnknownThinIDs)))
	if len(r.UnknownThinIDs) > 0 {
		fmt.Fprintf(text, "    thin ids %s\n", strings.Trim(fmt.Sprint(r.UnknownThinIDs), "[]"))
	}
}

// WriteRepair writes what a repair has done and what is left.
func WriteRepair(w io.Writer, r thinpool.RepairReport) error {
	var text strings.Builder
	done := "nothing: there was nothing to repair"
	if len(r.Done) > 0 {
		var actions []string
		for _, action := range r.Done {
			actions = append(actions, string(action))
		}
		done = strings.Join(actions, ", ")
	} else if len(r.Before.Actions()) > 0 {
		done = "nothing"
	}
	fmt.Fprintf(&text, "Done: %s\n", done)
	if r.Reconstructed {
		text.WriteString("Reconstructed: superblock or roots were lost. What was found may be older than the last commit: check the volumes' file systems\n")
	}
	fmt.Fprintf(&text, "Damaged Volumes: %d\n", len(r.Damaged))
	for _, v := range r.Damaged {
		fmt.Fprintf(&text, "    %s, thin id %d: %s of %s are left, the rest reads as zeros\n", v.Name, v.ThinID, Size(v.MappedAfter), Size(v.MappedBefore))
	}
	writeCheck(&text, r.After)
	_, err := io.WriteString(w, text.String())
	return err
}

// WriteGrowth writes what a pool has grown by.
func WriteGrowth(w io.Writer, g Growth) error {
	_, err := fmt.Fprintf(w, "Data Space Total: %s, was %s\nMetadata Space Total: %s, was %s\n",
		Size(g.After.Data.Total), Size(g.Before.Data.Total), Size(g.After.Metadata.Total), Size(g.Before.Metadata.Total))
	return err
}
