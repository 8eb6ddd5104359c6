package monitor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/pkg/volumehealth"
)

// Monitor looks at the node's pools and volumes. Its methods may be called concurrently.
type Monitor struct {
	pools *pools.Set
	// kubelet is the directory below which volumes are mounted.
	kubelet string

	mu sync.Mutex
	// refused are the volumes whose last staging failed for what is on them.
	refused map[string]volumehealth.Problem
}

// New makes a monitor of the node's pools, whose volumes are mounted below kubelet's directory.
func New(set *pools.Set, kubelet string) *Monitor {
	return &Monitor{pools: set, kubelet: kubelet, refused: map[string]volumehealth.Problem{}}
}

// Volumes tells what is wrong with volumes of an open pool alone, by their names. Those that are well are left out. It costs two
// system calls a volume, and one look at the list of mounts.
func (m *Monitor) Volumes(ctx context.Context, pool pools.Pool) (map[string][]volumehealth.Problem, error) {
	problems := map[string][]volumehealth.Problem{}
	for _, name := range pool.LostVolumes() {
		problems[name] = []volumehealth.Problem{lost(name)}
	}
	mounted, err := filesystem.MountedBelow(m.kubelet)
	if err != nil {
		return nil, err
	}
	refused := m.refusals()
	for _, volume := range pool.Volumes() {
		device, err := pool.ActiveDevice(ctx, volume.Name)
		if errors.Is(err, thinpool.ErrVolumeNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		var path string
		if device != "" {
			path = mounted[numberOf(device)]
		}
		found, err := ofFileSystem(volume, device, path)
		if err != nil {
			return nil, err
		}
		if problem, ok := refused[volume.Name]; ok && path == "" {
			found = append(found, problem)
		}
		if len(found) > 0 {
			problems[volume.Name] = found
		}
	}
	return problems, nil
}

// Volume tells what is wrong with one volume of an open pool alone. Path is where it is mounted; empty: nowhere.
func (m *Monitor) Volume(volume thinpool.Volume, device, path string) ([]volumehealth.Problem, error) {
	found, err := ofFileSystem(volume, device, path)
	if problem, ok := m.refusals()[volume.Name]; ok && path == "" {
		found = append(found, problem)
	}
	return found, err
}

// Lost tells whether a pool has lost the volume. pools.Set does not find such a one.
func (m *Monitor) Lost(volume string) ([]volumehealth.Problem, bool) {
	for _, name := range m.pools.Names() {
		pool, err := m.pools.Get(name)
		if err != nil {
			continue
		}
		for _, other := range pool.LostVolumes() {
			if other == volume {
				return []volumehealth.Problem{lost(volume)}, true
			}
		}
	}
	return nil, false
}

func lost(volume string) volumehealth.Problem {
	return volumehealth.New(v1alpha1.ReasonVolumeLost, fmt.Sprintf("the pool's metadata holds no thin device of volume %q any more", volume))
}

// ofFileSystem asks the kernel of a file system that is mounted.
func ofFileSystem(volume thinpool.Volume, device, path string) ([]volumehealth.Problem, error) {
	if device == "" || path == "" || volume.Format.Type == "" {
		return nil, nil
	}
	trouble, err := filesystem.ReadTrouble(volume.Format.Type, device, path)
	switch {
	case err != nil:
		return nil, err
	case trouble.ShutDown:
		return []volumehealth.Problem{volumehealth.New(v1alpha1.ReasonFileSystemShutDown,
			fmt.Sprintf("the kernel has shut the %s down after an error: it works again once it is mounted anew", volume.Format.Type))}, nil
	case trouble.Errors > 0:
		return []volumehealth.Problem{volumehealth.New(v1alpha1.ReasonFileSystemErrors,
			fmt.Sprintf("the kernel has noted %d errors in the %s: it is checked when it is staged the next time", trouble.Errors, volume.Format.Type))}, nil
	}
	return nil, nil
}

// numberOf is the number of a device, or that of none.
func numberOf(device string) filesystem.DeviceNumber {
	var status unix.Stat_t
	if err := unix.Stat(device, &status); err != nil || status.Mode&unix.S_IFMT != unix.S_IFBLK {
		return filesystem.DeviceNumber{}
	}
	return filesystem.DeviceNumber{Major: unix.Major(status.Rdev), Minor: unix.Minor(status.Rdev)}
}
