package devicemapper

import (
	"fmt"
	"strconv"
	"strings"
)

// Dust is a disk with bad blocks: reading one fails until it is written to
// (Documentation/admin-guide/device-mapper/dm-dust.rst of the kernel). The
// messages "addbadblock N" and "enable" make blocks bad; N counts blocks of
// BlockBytes from the beginning of Device, wherever the segment begins. Without "enable" it is a
// linear target.
type Dust struct {
	Device        DeviceNumber
	OffsetSectors Sectors // where on Device the segment begins
	BlockBytes    uint32  // a power of 2 from 512 to 2^30
}

const (
	minDustBlock = 512
	maxDustBlock = 1 << 30
)

// Type returns "dust".
func (Dust) Type() string { return TypeDust }

func (t Dust) params() (string, error) {
	if err := t.Device.validate("dust device"); err != nil {
		return "", err
	}
	if t.BlockBytes < minDustBlock || t.BlockBytes > maxDustBlock || t.BlockBytes&(t.BlockBytes-1) != 0 {
		return "", invalid("dust block size", strconv.FormatUint(uint64(t.BlockBytes), 10), fmt.Sprintf("a power of 2 from %d to %d bytes", minDustBlock, maxDustBlock))
	}
	return fmt.Sprintf("%s %d %d", t.Device, t.OffsetSectors, t.BlockBytes), nil
}

func parseDust(params string) (Dust, error) {
	fields := strings.Fields(params)
	if len(fields) != 3 {
		return Dust{}, wantFields(params, 3)
	}
	device, err := ParseDeviceNumber(fields[0])
	if err != nil {
		return Dust{}, err
	}
	t := Dust{Device: device}
	if t.OffsetSectors, err = number[Sectors](fields[1]); err != nil {
		return Dust{}, err
	}
	t.BlockBytes, err = number[uint32](fields[2])
	return t, err
}
