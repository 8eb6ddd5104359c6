package thinpool

import (
	"errors"
	"fmt"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// verdict says what the labels of a source's devices mean for Open.
type verdict int

const (
	// verdictMake: there is no pool on the devices yet, or one that was never finished.
	verdictMake verdict = iota
	// verdictReopen: the pool that was asked for is there.
	verdictReopen
)

// match compares the labels with the configuration. It changes nothing. Where a pool that was never finished is to be made
// over, previous is its label, else nil.
func (s sourceDevices) match(config Config) (v verdict, previous *label, err error) {
	labelled := 0
	members := s.members()
	for _, device := range members {
		switch {
		case device.err == nil:
			labelled++
		case errors.Is(device.err, errLabelNewer):
			return 0, nil, fmt.Errorf("%w: %s: %w", ErrFormatNewer, device.Path, device.err)
		case errors.Is(device.err, errLabelDamaged):
			return 0, nil, fmt.Errorf("%w: %s: %w", ErrPoolDamaged, device.Path, device.err)
		case !errors.Is(device.err, errNoLabel):
			return 0, nil, fmt.Errorf("%s: %w", device.Path, device.err)
		}
	}
	if labelled == 0 {
		return verdictMake, nil, nil
	}
	for _, device := range members {
		if device.err == nil && device.label.PoolName != config.Name {
			return 0, nil, fmt.Errorf("%w: %s is device %d of pool %q (%s), not of %q; to use it for another pool, clear its first MiB",
				ErrForeignPool, device.Path, device.label.Device, device.label.PoolName, device.label.PoolID, config.Name)
		}
	}
	first := s[0]
	if first.err != nil {
		return 0, nil, s.misplaced(0)
	}
	if first.label.State == stateCreating && first.label.Device == 0 {
		// Cut while it was made. Labels of the others were written after the first, or not at all.
		for _, device := range s[1:] {
			if device.err == nil && device.label.PoolID != first.label.PoolID {
				return 0, nil, foreign(device, first.label)
			}
		}
		return verdictMake, &first.label, nil
	}
	return verdictReopen, nil, members.matchReady(config)
}

// members are the devices that the label of the first counts, and all where that has none: those behind them, which the
// source names already, are to be added. See grow.go.
func (s sourceDevices) members() sourceDevices {
	if first := s[0]; first.err == nil && first.label.Device == 0 && first.label.State == stateReady {
		return s[:min(len(s), len(first.label.Devices))]
	}
	return s
}

// matchReady compares the devices of a pool that exists, one by one. The first one's label is what counts: those of others
// may be older or newer where growing was cut, but they say which device of the pool each is.
func (s sourceDevices) matchReady(config Config) error {
	own := s[0].label
	for i, device := range s {
		switch {
		case device.err != nil:
			return s.misplaced(i)
		case device.label.PoolID != own.PoolID:
			return foreign(device, own)
		case device.label.Device != i:
			return fmt.Errorf("%w: %s is device %d of the pool and stands at place %d, %s", ErrSourceChanged, device.Path, device.label.Device, i, device.field)
		case i < len(own.Devices) && device.label.Devices[i].ID != own.Devices[i].ID:
			return fmt.Errorf("%w: the labels of %s and %s disagree about the pool's devices", ErrPoolDamaged, s[0].Path, device.Path)
		case i < len(own.Devices) && devicemapper.SectorsOf(device.Size) < own.Devices[i].Sectors:
			return fmt.Errorf("%w: %s: %s has %d bytes, less than the %d that the pool uses", ErrSourceChanged, device.field, device.Path, device.Size, own.Devices[i].Sectors.Bytes())
		}
	}
	if len(own.Devices) != len(s) {
		return fmt.Errorf("%w: the pool consists of %d devices, source.devices names %d", ErrSourceChanged, len(own.Devices), len(s))
	}
	if own.separate() != config.Source.separate() {
		asked, made := "source.devices", "source.dataDevice and source.metadataDevice"
		if config.Source.separate() {
			asked, made = made, asked
		}
		return fmt.Errorf("%w: the devices are named by %s, the pool was made with %s", ErrSourceChanged, asked, made)
	}
	if own.BlockSectors.Bytes() != config.BlockSize {
		return fmt.Errorf("%w: blockSize is %d, the pool was made with %d", ErrSourceChanged, config.BlockSize, own.BlockSectors.Bytes())
	}
	return nil
}

// misplaced is the error for a device without a label among others that have one.
func (s sourceDevices) misplaced(i int) error {
	for _, device := range s {
		if device.err == nil {
			return fmt.Errorf("%w: %s belongs to no pool, while %s is device %d of %d of pool %q: has the device been exchanged or overwritten?",
				ErrSourceChanged, s[i].Path, device.Path, device.label.Device, len(device.label.Devices), device.label.PoolName)
		}
	}
	return fmt.Errorf("%w: %s", ErrSourceChanged, s[i].Path)
}

func foreign(device sourceDevice, own label) error {
	return fmt.Errorf("%w: %s belongs to the pool %s of the same name, not to %s", ErrForeignPool, device.Path, device.label.PoolID, own.PoolID)
}
