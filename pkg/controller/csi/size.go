package csi

import (
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// defaultSize is the size of a volume whose request names none: 1 GiB.
const defaultSize = 1 << 30

// sizeRange is what a request lets a volume's size be, in bytes. limit is 0 where there is none.
type sizeRange struct {
	required int64
	limit    int64
}

func readRange(asked *csi.CapacityRange, fsType filesystem.Type) (sizeRange, error) {
	smallest := filesystem.MinimumSize(fsType)
	size := sizeRange{required: max(defaultSize, smallest)}
	if asked != nil {
		given, err := checkRange(asked)
		if err != nil {
			return sizeRange{}, err
		}
		if given.required == 0 {
			given.required = min(size.required, given.limit)
		}
		size = given
	}
	if size.required < smallest {
		return sizeRange{}, &rangeError{fieldError{"capacity_range.required_bytes", size.required, fmt.Sprintf("%s needs at least %d bytes", fsType, smallest)}}
	}
	return size, nil
}

// checkRange refuses a range that no volume can have. One of the two numbers may be 0, which leaves it open.
func checkRange(asked *csi.CapacityRange) (sizeRange, error) {
	required, limit := asked.GetRequiredBytes(), asked.GetLimitBytes()
	switch {
	case required < 0, required == 0 && limit == 0:
		return sizeRange{}, &fieldError{"capacity_range.required_bytes", required, "a number of bytes greater than 0"}
	case limit < 0:
		return sizeRange{}, &fieldError{"capacity_range.limit_bytes", limit, "a number of bytes greater than 0"}
	case limit != 0 && limit < required:
		return sizeRange{}, &fieldError{"capacity_range.limit_bytes", limit, fmt.Sprintf("at least required_bytes, which is %d", required)}
	}
	return sizeRange{required: required, limit: limit}, nil
}

// contains tells whether a volume of size bytes satisfies the request.
func (r sizeRange) contains(size int64) bool {
	return size >= r.required && (r.limit == 0 || size <= r.limit)
}

// rangeError is a fieldError about a size that the driver cannot make: OUT_OF_RANGE.
type rangeError struct{ fieldError }
