package monitor

import (
	"errors"
	"maps"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumehealth"
)

// ErrFileSystemMissing is matched by the error of staging a volume that does not begin with its file system.
var ErrFileSystemMissing = errors.New("volume does not hold its file system")

// Staged notes how staging a volume ended, so that its health tells of one that cannot be mounted for what is on it. Any other
// failure says nothing of the volume's contents and leaves what was known.
func (m *Monitor) Staged(volume string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil:
		delete(m.refused, volume)
	case errors.Is(err, ErrFileSystemMissing):
		m.refused[volume] = volumehealth.New(v1alpha1.ReasonFileSystemMissing, err.Error())
	case errors.Is(err, filesystem.ErrCheckFailed), filesystem.Damaged(err):
		m.refused[volume] = volumehealth.New(v1alpha1.ReasonFileSystemDamaged, err.Error())
	}
}

// refusals gives what Staged has noted of volumes that still exist.
func (m *Monitor) refusals() map[string]volumehealth.Problem {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.refused {
		if _, err := m.pools.Find(name, ""); errors.Is(err, thinpool.ErrVolumeNotFound) {
			delete(m.refused, name)
		}
	}
	return maps.Clone(m.refused)
}
