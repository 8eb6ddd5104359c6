package thinpool

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"
)

// Labels and registry each carry the version of their format.
//
//	label     1  one area each for metadata and spare, on device 0
//	          2  any number of them, on any device: a pool that has grown
//	registry  1  volumes, bases, intents
//	          2  records with further fields, and a journal beside the database, from the Open after the upgrade on
//	          3  volumes with an owner
//
// A pool of an older version is upgraded in place while it is opened; its volumes are not touched. A driver that knows the
// older version only refuses it from then on (ErrFormatNewer), and since each device's label is looked at before anything
// else, that is what is upgraded first. Each step is one durable write, so an upgrade that was cut goes on with the next Open.

// upgrade brings labels and registry to the versions that this package writes.
func (p *Pool) upgrade(ctx context.Context, devices sourceDevices, found poolRecord) error {
	if err := p.upgradeLabels(ctx, devices); err != nil {
		return fmt.Errorf("upgrade labels: %w", err)
	}
	if found.Version == registryVersion {
		return nil
	}
	reached(failUpgradeLabelled)
	klog.FromContext(ctx).Info("Upgrading the registry", "pool", p.label.PoolName, "from", found.Version, "to", registryVersion)
	found.Version = registryVersion
	if err := p.registry.committer.commit(ctx, 0, write{bucketPool, []byte(keyPoolRecord), encodeRecord(found)}); err != nil {
		return fmt.Errorf("upgrade registry: %w", err)
	}
	reached(failUpgradeDone)
	return nil
}

func (p *Pool) upgradeLabels(ctx context.Context, devices sourceDevices) error {
	oldest, generation := uint32(labelVersion), p.label.Generation
	for _, device := range devices {
		oldest, generation = min(oldest, device.label.Version), max(generation, device.label.Generation)
	}
	if oldest == labelVersion {
		return nil
	}
	klog.FromContext(ctx).Info("Upgrading the labels", "pool", p.label.PoolName, "from", oldest, "to", labelVersion)
	p.label.Version, p.label.Generation = labelVersion, generation+1
	return devices.renewLabels(p.label, failUpgradeLabels)
}
