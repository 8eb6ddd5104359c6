package devicemapper

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a pool's block size: 64 KiB to 1 GiB in steps of 64 KiB
// (DATA_DEV_BLOCK_SIZE_MIN_SECTORS and _MAX_SECTORS in the kernel's
// drivers/md/dm-thin.c).
const (
	MinPoolBlockSectors Sectors = 128
	MaxPoolBlockSectors Sectors = 2097152
)

// ThinPool is a thin pool: a metadata device and a data device. It must be
// the only segment of its table, from sector 0, as long as the data it may
// use; loaded again longer, the pool grows.
//
// Beware of two things the kernel does silently. A metadata device whose
// first 4 KiB are zero is formatted, and every thin device it held is gone.
// A block size other than the one in the metadata, on a pool that is active,
// is ignored.
type ThinPool struct {
	Metadata, Data DeviceNumber
	// BlockSectors is the size of a data block, from MinPoolBlockSectors to
	// MaxPoolBlockSectors in steps of the former. It can never change.
	BlockSectors Sectors
	// LowWaterBlocks is how many free data blocks are left when the kernel
	// raises the low-water event, once for every resume. 0: never.
	LowWaterBlocks DataBlocks

	// SkipBlockZeroing says that a block new to a thin device still holds
	// what its last owner wrote. Client.Table reports it; loading it is
	// refused.
	SkipBlockZeroing bool
	// IgnoreDiscard: discards do not even unmap blocks.
	IgnoreDiscard bool
	// NoDiscardPassdown: discards unmap blocks and go no further.
	NoDiscardPassdown bool
	// ReadOnly: the metadata is not changed. Not for a new pool.
	ReadOnly bool
	// ErrorIfNoSpace: a write that finds the data device full fails at once
	// instead of waiting for the module's no_space_timeout, 60 s.
	ErrorIfNoSpace bool
}

// Type returns "thin-pool".
func (ThinPool) Type() string { return TypeThinPool }

// The feature arguments, in the order in which the kernel prints them.
const (
	featureSkipBlockZeroing  = "skip_block_zeroing"
	featureIgnoreDiscard     = "ignore_discard"
	featureNoDiscardPassdown = "no_discard_passdown"
	featureReadOnly          = "read_only"
	featureErrorIfNoSpace    = "error_if_no_space"
)

func (t ThinPool) params() (string, error) {
	if err := errors.Join(t.Metadata.validate("pool metadata device"), t.Data.validate("pool data device")); err != nil {
		return "", err
	}
	if t.Metadata == t.Data {
		return "", invalid("pool data device", t.Data.String(), "a device other than the metadata device")
	}
	if t.BlockSectors < MinPoolBlockSectors || t.BlockSectors > MaxPoolBlockSectors || t.BlockSectors%MinPoolBlockSectors != 0 {
		return "", invalid("pool block size", fmt.Sprintf("%d sectors", t.BlockSectors),
			fmt.Sprintf("%d to %d sectors, a multiple of %d", MinPoolBlockSectors, MaxPoolBlockSectors, MinPoolBlockSectors))
	}
	if t.SkipBlockZeroing {
		return "", invalid("pool feature", featureSkipBlockZeroing, "a pool that zeroes new blocks")
	}
	features := t.features()
	return strings.Join(slices.Concat([]string{
		t.Metadata.String(), t.Data.String(),
		strconv.FormatUint(uint64(t.BlockSectors), 10),
		strconv.FormatUint(uint64(t.LowWaterBlocks), 10),
		strconv.Itoa(len(features)),
	}, features), " "), nil
}

func (t ThinPool) features() []string {
	var features []string
	for _, f := range []struct {
		set  bool
		name string
	}{
		{t.SkipBlockZeroing, featureSkipBlockZeroing},
		{t.IgnoreDiscard, featureIgnoreDiscard},
		{t.NoDiscardPassdown, featureNoDiscardPassdown},
		{t.ReadOnly, featureReadOnly},
		{t.ErrorIfNoSpace, featureErrorIfNoSpace},
	} {
		if f.set {
			features = append(features, f.name)
		}
	}
	return features
}

func parseThinPool(params string) (ThinPool, error) {
	fields := strings.Fields(params)
	if len(fields) < 5 {
		return ThinPool{}, fmt.Errorf("%d fields, at least 5 are needed", len(fields))
	}
	var t ThinPool
	var err error
	var count uint32
	if t.Metadata, err = ParseDeviceNumber(fields[0]); err != nil {
		return ThinPool{}, err
	}
	if t.Data, err = ParseDeviceNumber(fields[1]); err != nil {
		return ThinPool{}, err
	}
	if t.BlockSectors, err = number[Sectors](fields[2]); err != nil {
		return ThinPool{}, err
	}
	if t.LowWaterBlocks, err = number[DataBlocks](fields[3]); err != nil {
		return ThinPool{}, err
	}
	if count, err = number[uint32](fields[4]); err != nil || int(count) != len(fields)-5 {
		return ThinPool{}, fmt.Errorf("feature count %q does not fit %d features", fields[4], len(fields)-5)
	}
	for _, feature := range fields[5:] {
		switch feature {
		case featureSkipBlockZeroing:
			t.SkipBlockZeroing = true
		case featureIgnoreDiscard:
			t.IgnoreDiscard = true
		case featureNoDiscardPassdown:
			t.NoDiscardPassdown = true
		case featureReadOnly:
			t.ReadOnly = true
		case featureErrorIfNoSpace:
			t.ErrorIfNoSpace = true
		default:
			return ThinPool{}, fmt.Errorf("unknown feature %q", feature)
		}
	}
	return t, nil
}
