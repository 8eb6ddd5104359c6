package thinpool

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// maximumVolumeSize bounds a volume, in bytes: 8 PiB is far above what a pool can hold and leaves every sum of sizes
// within an int64.
const maximumVolumeSize = 8 << 50

const (
	minimumLoopSize = 256 << 20
	maximumLoopSize = 16 << 40
)

func (c Config) validate() error {
	if !poolNamePattern.MatchString(c.Name) {
		return &FieldError{Field: "name", Value: c.Name, Allowed: "1 to 40 lower-case letters, digits and '-', beginning and ending with a letter or digit"}
	}
	if err := validateBlockSize(c.BlockSize); err != nil {
		return err
	}
	if err := c.validatePolicy(); err != nil {
		return err
	}
	return c.Source.validate()
}

// validatePolicy checks what may change while a pool is open.
func (c Config) validatePolicy() error {
	if c.MinFreePercent < 0 || c.MinFreePercent > 99 {
		return &FieldError{Field: "minFreeSpace", Value: strconv.Itoa(c.MinFreePercent) + "%", Allowed: "0% to 99%"}
	}
	if c.OverprovisionMilli < 1000 || c.OverprovisionMilli > 100_000 {
		return &FieldError{Field: "overprovision", Value: fmt.Sprintf("%d/1000", c.OverprovisionMilli), Allowed: "1 to 100"}
	}
	return nil
}

func validateBlockSize(size int64) error {
	smallest, largest := devicemapper.MinPoolBlockSectors.Bytes(), devicemapper.MaxPoolBlockSectors.Bytes()
	if size < smallest || size > largest || size%smallest != 0 {
		return &FieldError{Field: "blockSize", Value: strconv.FormatInt(size, 10), Allowed: fmt.Sprintf("a multiple of %d from %d to %d", smallest, smallest, largest)}
	}
	return nil
}

func (s Source) validate() error {
	if (len(s.Devices) > 0) == (s.Loopback != nil) {
		return &FieldError{Field: "source", Value: fmt.Sprintf("%d devices, loopback %t", len(s.Devices), s.Loopback != nil), Allowed: "exactly one of devices and loopback"}
	}
	if s.Loopback != nil {
		return s.Loopback.validate(s.Force)
	}
	if len(s.Devices) > maximumDevices {
		return &FieldError{Field: "source.devices", Value: fmt.Sprintf("%d devices", len(s.Devices)), Allowed: fmt.Sprintf("at most %d", maximumDevices)}
	}
	for i, path := range s.Devices {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsAny(path, "\x00\n") {
			return &FieldError{Field: fmt.Sprintf("source.devices[%d]", i), Value: path, Allowed: "an absolute path without '..'"}
		}
		if slices.Contains(s.Devices[:i], path) {
			return &FieldError{Field: fmt.Sprintf("source.devices[%d]", i), Value: path, Allowed: "each device once"}
		}
	}
	return nil
}

func (l Loopback) validate(force []string) error {
	switch {
	case len(force) > 0:
		return &FieldError{Field: "source.force", Value: strings.Join(force, ","), Allowed: "nothing, with a loopback source"}
	case !filepath.IsAbs(l.Path) || filepath.Clean(l.Path) != l.Path || strings.ContainsAny(l.Path, "\x00\n"):
		return &FieldError{Field: "source.loopback.path", Value: l.Path, Allowed: "an absolute path without '..'"}
	case l.Size < minimumLoopSize || l.Size > maximumLoopSize || l.Size%(1<<20) != 0:
		return &FieldError{Field: "source.loopback.size", Value: strconv.FormatInt(l.Size, 10), Allowed: fmt.Sprintf("whole MiB from %d to %d bytes", minimumLoopSize, maximumLoopSize)}
	}
	return nil
}

// normalized checks what a caller asks for and gives it with its size rounded up to whole blocks.
func (s VolumeSpec) normalized(blockSize int64) (VolumeSpec, error) {
	if err := validateVolumeName(s.Name); err != nil {
		return s, err
	}
	if s.Size <= 0 || s.Size > maximumVolumeSize {
		return s, &FieldError{Field: "size", Value: strconv.FormatInt(s.Size, 10), Allowed: fmt.Sprintf("1 to %d bytes", int64(maximumVolumeSize))}
	}
	s.Size = roundUp(s.Size, blockSize)
	if s.Format.Type == "" {
		if len(s.Format.Options) > 0 {
			return s, &FieldError{Field: "mkfs-options", Value: strings.Join(s.Format.Options, " "), Allowed: "nothing without a file system"}
		}
		return s, nil
	}
	if _, err := filesystem.ParseType(string(s.Format.Type)); err != nil {
		return s, &FieldError{Field: "fsType", Value: string(s.Format.Type), Allowed: fmt.Sprint(filesystem.Types)}
	}
	if smallest := filesystem.MinimumSize(s.Format.Type); s.Size < smallest {
		return s, &FieldError{Field: "size", Value: strconv.FormatInt(s.Size, 10), Allowed: fmt.Sprintf("at least %d bytes for %s", smallest, s.Format.Type)}
	}
	options, err := filesystem.ParseMkfsOptions(s.Format.Type, strings.Join(s.Format.Options, " "))
	if err != nil {
		return s, &FieldError{Field: "mkfs-options", Value: strings.Join(s.Format.Options, " "), Allowed: err.Error()}
	}
	s.Format.Options = options
	return s, nil
}

func validateVolumeName(name string) error {
	if !volumeNamePattern.MatchString(name) {
		return &FieldError{Field: "volume name", Value: name, Allowed: "1 to 96 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"}
	}
	return nil
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
