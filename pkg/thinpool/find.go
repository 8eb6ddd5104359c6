package thinpool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
)

// FoundPool is a pool that the labels of devices tell of.
type FoundPool struct {
	Name   string `json:"name"`
	PoolID string `json:"poolID"`
	// Made: the pool exists. One that was never finished holds nothing.
	Made      bool  `json:"made"`
	BlockSize int64 `json:"blockSize"` // bytes
	// Devices that were found, in the order in which the pool counts them, and how many it has.
	Devices []FoundDevice `json:"devices"`
	Needed  int           `json:"needed"`

	separate, loop bool
}

// FoundDevice is a device with a pool's label. Sizes are bytes.
type FoundDevice struct {
	Path  string `json:"path"`
	Place int    `json:"place"` // in the pool, from 0
	Size  int64  `json:"size"`
	// What the pool uses of the device: less than Size once the device has grown.
	UsedSize int64 `json:"usedSize"`
}

// Complete says why the pool cannot be opened with the devices that were found, or nil.
func (f FoundPool) Complete() error {
	for place := range max(f.Needed, len(f.Devices)) {
		switch {
		case place >= len(f.Devices) || f.Devices[place].Place > place:
			return fmt.Errorf("%w: device %d of %d of pool %q", ErrDeviceNotFound, place, f.Needed, f.Name)
		case f.Devices[place].Place < place:
			return fmt.Errorf("%w: device %d of pool %q was found twice, at %s and at %s: name one", ErrInvalid, f.Devices[place].Place, f.Name, f.Devices[place-1].Path, f.Devices[place].Path)
		}
	}
	return nil
}

// Config is a configuration for Check and Repair, with the pool's own settings where the label has them.
func (f FoundPool) Config() (Config, error) {
	if err := f.Complete(); err != nil {
		return Config{}, err
	}
	config := Config{Name: f.Name, BlockSize: f.BlockSize, OverprovisionMilli: 1000}
	switch {
	case f.loop:
		config.Source.Loopback = &Loopback{Path: f.Devices[0].Path, Size: f.Devices[0].Size}
	case f.separate:
		config.Source.DataDevice, config.Source.MetadataDevice = f.Devices[0].Path, f.Devices[1].Path
	default:
		for _, device := range f.Devices {
			config.Source.Devices = append(config.Source.Devices, device.Path)
		}
	}
	return config, nil
}

// Find reads the labels of devices, or of files that loop pools are on, and gives the pools they tell of by name and id.
// Without paths it looks at all block devices of the machine but those that csi-dm made itself, which hold the volumes'
// contents, and those that are suspended; what cannot be read is left out then. It needs neither Kubernetes nor the kernel's
// device mapper, and changes nothing.
func Find(ctx context.Context, paths ...string) ([]FoundPool, error) {
	all := len(paths) == 0
	if all {
		var err error
		if paths, err = blockDevices(); err != nil {
			return nil, err
		}
	}
	found := map[poolID]*FoundPool{}
	seen := map[blockdevice.Number]bool{}
	for _, path := range paths {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		l, device, number, err := labelAt(path)
		switch {
		case errors.Is(err, errNoLabel), err != nil && all, number != (blockdevice.Number{}) && seen[number]:
			continue
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		seen[number] = true
		pool, ok := found[l.PoolID]
		if !ok {
			pool = &FoundPool{Name: l.PoolName, PoolID: string(l.PoolID)}
			found[l.PoolID] = pool
		}
		if l.Device == 0 {
			pool.separate, pool.loop = l.separate(), number == blockdevice.Number{}
			pool.Made, pool.BlockSize, pool.Needed = l.State == stateReady, l.BlockSectors.Bytes(), len(l.Devices)
		}
		pool.Devices = append(pool.Devices, device)
	}
	pools := make([]FoundPool, 0, len(found))
	for _, pool := range found {
		slices.SortStableFunc(pool.Devices, func(a, b FoundDevice) int { return cmp.Compare(a.Place, b.Place) })
		pools = append(pools, *pool)
	}
	slices.SortFunc(pools, func(a, b FoundPool) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.PoolID, b.PoolID)) })
	return pools, nil
}

// labelAt reads the label of a device, or of a file, which has no number.
func labelAt(path string) (l label, device FoundDevice, number blockdevice.Number, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, device, number, fmt.Errorf("%w: %w", ErrDeviceNotFound, err)
	}
	if err != nil {
		return l, device, number, err
	}
	device = FoundDevice{Path: path, Size: info.Size()}
	if !info.Mode().IsRegular() {
		description, err := blockdevice.Stat(path)
		if err != nil {
			return l, device, number, err
		}
		device.Size, number = description.Size, description.Number
	}
	if device.Size < labelArea {
		return l, device, number, errNoLabel
	}
	file, err := os.Open(path)
	if err != nil {
		return l, device, number, err
	}
	defer func() { _ = file.Close() }()
	if l, err = readLabel(file); err == nil {
		device.Place, device.UsedSize = l.Device, l.Devices[l.Device].Sectors.Bytes()
	}
	return l, device, number, err
}

// blockDevices lists the machine's block devices. A volume's contents are its owner's, who could write a label there; a
// suspended device does not answer.
func blockDevices() ([]string, error) {
	entries, err := os.ReadDir("/sys/class/block")
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, entry := range entries {
		attributes := filepath.Join("/sys/class/block", entry.Name(), "dm")
		uuid, _ := os.ReadFile(filepath.Join(attributes, "uuid"))
		suspended, _ := os.ReadFile(filepath.Join(attributes, "suspended"))
		if strings.HasPrefix(string(uuid), "CSIDM-") || strings.TrimSpace(string(suspended)) == "1" {
			continue
		}
		// Names of the kernel's have '!' for '/'.
		paths = append(paths, "/dev/"+strings.ReplaceAll(entry.Name(), "!", "/"))
	}
	return paths, nil
}
