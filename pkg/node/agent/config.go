package agent

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// directories are where pools keep files on the node.
type directories struct {
	loopback string
}

// Defaults of the API, for settings that were written before a default existed.
const (
	defaultBlockSize     = "64Ki"
	defaultMinFree       = "10%"
	defaultLoopbackSize  = "100Gi"
	defaultOverprovision = 1000 // thousandths
)

// config turns a pool's settings into the engine's. The API server has checked them; they are checked again, because what
// it lets through depends on the version of its CRDs. Errors match thinpool.ErrInvalid and name the field.
func (d directories) config(poolName string, settings v1alpha1.PoolSettings) (thinpool.Config, error) {
	if err := volumeid.CheckPool("spec.poolName", poolName); err != nil {
		return thinpool.Config{}, fmt.Errorf("%w: %w", thinpool.ErrInvalid, err)
	}
	var blockSize int64 // that of a pool which is handed over, unless another is asked for
	var err error
	if settings.BlockSize != "" || settings.Source.ThinPoolDevice == "" {
		if blockSize, err = parseBytes("spec.blockSize", settings.BlockSize, defaultBlockSize); err != nil {
			return thinpool.Config{}, err
		}
	}
	minFree, err := parsePercent("spec.minFreeSpace", settings.MinFreeSpace, defaultMinFree)
	if err != nil {
		return thinpool.Config{}, err
	}
	source, err := d.source(poolName, settings.Source)
	if err != nil {
		return thinpool.Config{}, err
	}
	config := thinpool.Config{
		Name: poolName, Source: source, BlockSize: blockSize, MinFreePercent: minFree,
		OverprovisionMilli: defaultOverprovision,
		ErrorIfNoSpace:     settings.WhenFull != v1alpha1.WhenFullWait,
		DiscardPassdown:    settings.DiscardOnDelete == nil || *settings.DiscardOnDelete,
	}
	if settings.Overprovision != nil {
		config.OverprovisionMilli = settings.Overprovision.MilliValue()
	}
	return config, nil
}

func (d directories) source(poolName string, source v1alpha1.PoolSource) (thinpool.Source, error) {
	mapped := thinpool.Source{
		Devices: source.Devices, DataDevice: source.DataDevice, MetadataDevice: source.MetadataDevice,
		ThinPoolDevice: source.ThinPoolDevice, Force: source.Force,
	}
	if source.Loopback == nil {
		return mapped, nil
	}
	if d.loopback == "" {
		return thinpool.Source{}, &thinpool.FieldError{Field: "spec.source.loopback", Value: source.Loopback.Size,
			Allowed: "not on this node: its plugin was given no directory for loop files (--loopback-dir)"}
	}
	size, err := parseBytes("spec.source.loopback.size", source.Loopback.Size, defaultLoopbackSize)
	if err != nil {
		return thinpool.Source{}, err
	}
	mapped.Loopback = &thinpool.Loopback{Path: filepath.Join(d.loopback, poolName+".img"), Size: size}
	return mapped, nil
}

func parseBytes(field, text, otherwise string) (int64, error) {
	if text == "" {
		text = otherwise
	}
	quantity, err := resource.ParseQuantity(text)
	if err != nil || quantity.Sign() <= 0 {
		return 0, &thinpool.FieldError{Field: field, Value: text, Allowed: "a size in bytes such as 64Ki or 10Gi"}
	}
	bytes, exact := quantity.AsInt64()
	if !exact {
		return 0, &thinpool.FieldError{Field: field, Value: text, Allowed: "a whole number of bytes, at most 8Ei"}
	}
	return bytes, nil
}

func parsePercent(field, text, otherwise string) (int, error) {
	if text == "" {
		text = otherwise
	}
	digits, found := strings.CutSuffix(text, "%")
	percent, err := strconv.Atoi(digits)
	if !found || err != nil || percent < 0 || percent > 99 {
		return 0, &thinpool.FieldError{Field: field, Value: text, Allowed: "0% to 99%"}
	}
	return percent, nil
}
