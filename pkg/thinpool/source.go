package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// sourceDevice is one of the devices that a pool's source names, open for the time of Open; after that device mapper's
// tables hold it.
type sourceDevice struct {
	blockdevice.Description
	field string // of the configuration that names it
	file  *os.File
	label label
	err   error // why there is no label: errNoLabel and others of readLabel
}

type sourceDevices []sourceDevice

// openSource opens the devices of a source and reads their labels. Nothing is written, but a loop file that does not
// exist yet is made. What is wrong with a device stands in its err: whether that matters depends on the labels.
func openSource(ctx context.Context, source Source) (devices sourceDevices, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, devices.close())
		}
	}()
	if source.Loopback != nil {
		file, description, err := openLoopback(*source.Loopback)
		if err != nil {
			return nil, err
		}
		devices = append(devices, sourceDevice{Description: description, field: "source.loopback.size", file: file})
	}
	for _, p := range source.paths() {
		if err := ctx.Err(); err != nil {
			return devices, context.Cause(ctx)
		}
		device := sourceDevice{Description: blockdevice.Description{Path: p.path}, field: p.field}
		device.err = device.open(p, devices)
		devices = append(devices, device)
	}
	for i := range devices {
		if devices[i].err != nil {
			continue
		}
		devices[i].err = errNoLabel
		if devices[i].Size >= labelArea {
			devices[i].label, devices[i].err = readLabel(devices[i].file)
		}
	}
	return devices, nil
}

// open opens the device that a path leads to, unless it is one of others.
func (d *sourceDevice) open(p sourcePath, others sourceDevices) error {
	description, err := p.describe()
	if err != nil {
		return err
	}
	for _, other := range others {
		if other.file != nil && other.Number == description.Number {
			return &FieldError{Field: p.field, Value: p.path, Allowed: fmt.Sprintf("each device once; %s leads to the same one, %s", other.field, other.Node)}
		}
	}
	d.Description = description
	// Not exclusively: a pool whose kernel devices are active holds it already.
	d.file, err = os.OpenFile(description.Node, os.O_RDWR, 0)
	return err
}

// describe looks at the block device that the path leads to.
func (p sourcePath) describe() (blockdevice.Description, error) {
	description, err := blockdevice.Stat(p.path)
	switch {
	case errors.Is(err, blockdevice.ErrNotExist):
		err = fmt.Errorf("%w: %s: %w", ErrDeviceNotFound, p.field, err)
	case errors.Is(err, blockdevice.ErrNotBlockDevice):
		err = &FieldError{Field: p.field, Value: p.path, Allowed: "a block device"}
	}
	return description, err
}

func (s sourceDevices) close() error {
	var errs []error
	for _, device := range s {
		if device.file != nil {
			errs = append(errs, device.file.Close())
		}
	}
	return errors.Join(errs...)
}

func (s sourceDevices) numbers() []devicemapper.DeviceNumber {
	numbers := make([]devicemapper.DeviceNumber, len(s))
	for i, device := range s {
		numbers[i] = devicemapper.DeviceNumber(device.Number)
	}
	return numbers
}

func (s sourceDevices) sizes() []int64 {
	sizes := make([]int64, len(s))
	for i, device := range s {
		sizes[i] = device.Size
	}
	return sizes
}
