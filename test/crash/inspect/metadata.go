//go:build linux

package inspect

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// thinIDs compares the thin ids in the pool's metadata, as thin_ls reads them, with those that the engine answers for, both
// ways.
func (i Inspection) thinIDs(ctx context.Context) (err error) {
	status, err := i.Pool.Status(ctx)
	if err != nil {
		return err
	}
	pool := devicemapper.Name(status.DeviceName)
	path, _, err := Metadata(ctx, i.Devices, pool)
	if err != nil {
		return err
	}
	if err := i.Devices.ReserveMetadataSnapshot(ctx, pool); err != nil {
		return err
	}
	output, err := run(ctx, "thin_ls", "--metadata-snap", "--no-headers", "--format", "DEV", path)
	if err = errors.Join(err, i.Devices.ReleaseMetadataSnapshot(ctx, pool)); err != nil {
		return err
	}
	var ids []uint32
	for _, field := range strings.Fields(output) {
		id, err := strconv.ParseUint(field, 10, 32)
		if err != nil {
			return fmt.Errorf("thin_ls: %w", err)
		}
		ids = append(ids, uint32(id))
	}
	volumes := i.Pool.Volumes()
	for _, v := range volumes {
		if !slices.Contains(ids, v.ThinID) {
			err = errors.Join(err, fmt.Errorf("volume %s has the thin id %d, which is not in the metadata", v.Name, v.ThinID))
		}
	}
	if want := len(volumes) + status.Bases + status.PendingDeletions + i.RegistryThins; len(ids) != want {
		err = errors.Join(err, fmt.Errorf("metadata holds %d thin ids %v; %d volumes, %d bases, %d deletions are known, and the registry has %d",
			len(ids), ids, len(volumes), status.Bases, status.PendingDeletions, i.RegistryThins))
	}
	return err
}

// Metadata gives the path and the table of the device that a pool's metadata lies on.
func Metadata(ctx context.Context, dm *devicemapper.Client, pool devicemapper.Name) (string, devicemapper.Table, error) {
	table, err := dm.Table(ctx, pool, devicemapper.TableOptions{})
	if err != nil {
		return "", nil, err
	}
	target, ok := table[0].Target.(devicemapper.ThinPool)
	if !ok {
		return "", nil, fmt.Errorf("%s is no thin pool: %s", pool, table)
	}
	info, err := dm.Info(ctx, target.Metadata)
	if err != nil {
		return "", nil, err
	}
	table, err = dm.Table(ctx, info.Device, devicemapper.TableOptions{})
	return info.Path(), table, err
}

// CheckMetadata runs thin_check on the metadata of a pool that is not active, by the table that Metadata gave.
func CheckMetadata(ctx context.Context, dm *devicemapper.Client, table devicemapper.Table) (err error) {
	const name = "crash-test-metadata"
	device, err := dm.Activate(ctx, name, "TEST-"+name, table)
	if err != nil {
		return err
	}
	defer func() {
		_, undo := dm.Remove(context.WithoutCancel(ctx), device, devicemapper.RemoveOptions{BusyTimeout: operationLimit})
		err = errors.Join(err, undo)
	}()
	_, err = run(ctx, "thin_check", device.Path())
	return err
}

// run runs a program and gives what it prints; the error has all that it said.
func run(ctx context.Context, name string, arguments ...string) (string, error) {
	output, err := exec.CommandContext(ctx, name, arguments...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(arguments, " "), err, strings.TrimSpace(string(output)))
	}
	return string(output), err
}
