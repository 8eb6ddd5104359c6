package thinpool

import (
	"fmt"
	"path/filepath"
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
	if c.BlockSize != 0 || c.Source.ThinPoolDevice == "" {
		if err := validateBlockSize(c.BlockSize); err != nil {
			return err
		}
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
	if err := s.validateKind(); err != nil {
		return err
	}
	switch {
	case s.Loopback != nil:
		return s.Loopback.validate(s.Force)
	case s.ThinPoolDevice != "":
		if len(s.Force) > 0 {
			return &FieldError{Field: "source.force", Value: strings.Join(s.Force, ","), Allowed: "nothing, with a thinPoolDevice"}
		}
		return validatePath("source.thinPoolDevice", s.ThinPoolDevice)
	case len(s.Devices) > maximumDevices:
		return &FieldError{Field: "source.devices", Value: fmt.Sprintf("%d devices", len(s.Devices)), Allowed: fmt.Sprintf("at most %d", maximumDevices)}
	}
	paths := s.paths()
	for i, p := range paths {
		if err := validatePath(p.field, p.path); err != nil {
			return err
		}
		for _, other := range paths[:i] {
			if other.path == p.path {
				return &FieldError{Field: p.field, Value: p.path, Allowed: "each device once; it is " + other.field + ", too"}
			}
		}
	}
	return nil
}

// validateKind checks that one kind of source is set, and wholly.
func (s Source) validateKind() error {
	var set []string
	for _, kind := range []struct {
		name string
		set  bool
	}{
		{"devices", len(s.Devices) > 0}, {"dataDevice and metadataDevice", s.separate()},
		{"thinPoolDevice", s.ThinPoolDevice != ""}, {"loopback", s.Loopback != nil},
	} {
		if kind.set {
			set = append(set, kind.name)
		}
	}
	if len(set) != 1 {
		return &FieldError{Field: "source", Value: strings.Join(set, ", "), Allowed: "exactly one of devices, dataDevice with metadataDevice, thinPoolDevice, and loopback"}
	}
	if s.separate() {
		for _, p := range s.paths() {
			if p.path == "" {
				return &FieldError{Field: p.field, Value: "", Allowed: "an absolute path: dataDevice and metadataDevice go together"}
			}
		}
	}
	return nil
}

func validatePath(field, path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsAny(path, "\x00\n") {
		return &FieldError{Field: field, Value: path, Allowed: "an absolute path without '..'"}
	}
	return nil
}

func (l Loopback) validate(force []string) error {
	switch {
	case len(force) > 0:
		return &FieldError{Field: "source.force", Value: strings.Join(force, ","), Allowed: "nothing, with a loopback source"}
	case validatePath("source.loopback.path", l.Path) != nil:
		return validatePath("source.loopback.path", l.Path)
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
	if s.Owner != "" && !ownerPattern.MatchString(s.Owner) {
		return s, &FieldError{Field: "owner", Value: s.Owner, Allowed: "1 to 512 letters, digits and '.', '_', '~', ':', '/' and '-'"}
	}
	if s.Source != "" {
		return s.normalizedSource(blockSize)
	}
	if largest := largestVolume(blockSize); s.Size <= 0 || s.Size > largest {
		return s, &FieldError{Field: "size", Value: strconv.FormatInt(s.Size, 10), Allowed: fmt.Sprintf("1 to %d bytes", largest)}
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
	if !isVolumeName(name) {
		return &FieldError{Field: "volume name", Value: name, Allowed: "1 to 96 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"}
	}
	return nil
}

// largestVolume is the largest size, in bytes, that is not above maximumVolumeSize when it is rounded up to whole blocks: one
// that is could be recorded and not be read back.
func largestVolume(blockSize int64) int64 { return maximumVolumeSize / blockSize * blockSize }

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
