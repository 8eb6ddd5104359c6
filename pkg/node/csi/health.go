package csi

import (
	"context"
	"errors"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/pkg/node/monitor"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/volumehealth"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// NodeGetVolumeHealth tells what is wrong with a volume: with its pool, with itself, and with the places where it should be
// mounted. It changes nothing and does not read from the volume.
func (n *Node) NodeGetVolumeHealth(ctx context.Context, request *csi.NodeGetVolumeHealthRequest) (*csi.NodeGetVolumeHealthResponse, error) {
	problems, err := n.volumeHealth(ctx, request)
	if err != nil {
		return nil, answer(err)
	}
	return &csi.NodeGetVolumeHealthResponse{VolumeHealth: volumehealth.Volume(request.GetVolumeId(), problems)}, nil
}

func (n *Node) volumeHealth(ctx context.Context, request *csi.NodeGetVolumeHealthRequest) ([]volumehealth.Problem, error) {
	id := request.GetVolumeId()
	if err := volumeid.Check(fieldVolumeID, id); err != nil {
		return nil, err
	}
	places := mountPlaces(request)
	for _, place := range places {
		if err := n.checkPath(place.field, place.path); err != nil {
			return nil, err
		}
	}
	volume, err := n.find(id, nil)
	if problems, ok := n.notFound(id, err); ok {
		return problems, nil
	}
	if err != nil {
		return nil, err
	}
	problems, err := n.config.Monitor.Pool(ctx, volume.PoolName)
	if err != nil {
		return nil, err
	}
	own, err := n.ownHealth(ctx, volume, places)
	return append(problems, own...), err
}

// notFound tells what is wrong with a volume that no open pool gives.
func (n *Node) notFound(id string, err error) ([]volumehealth.Problem, bool) {
	if err == nil {
		return nil, false
	}
	if problems, ok := n.config.Monitor.Lost(id); ok {
		return problems, true
	}
	return monitor.NotOpen(err)
}

// ownHealth tells what is wrong with the volume alone. While an operation works on it, nothing is said of mounts that come and go.
func (n *Node) ownHealth(ctx context.Context, volume pools.Located, places []mountPlace) ([]volumehealth.Problem, error) {
	device, err := volume.Pool.ActiveDevice(ctx, volume.Name)
	if err != nil {
		return nil, err
	}
	if n.inFlight.busy(volume.Name) {
		places = nil
	}
	problems, path, err := n.mountHealth(volume, device, places)
	if err != nil {
		return nil, err
	}
	own, err := n.config.Monitor.Volume(volume.Volume, device, path)
	// One that cannot be mounted for what is on it says so, and not that it is not mounted.
	if path == "" && len(own) > 0 {
		return own, err
	}
	return append(own, problems...), err
}

// NodeGetStorageHealth tells what is wrong with the node's pools. One that is being opened for the first time has nothing to say.
func (n *Node) NodeGetStorageHealth(ctx context.Context, _ *csi.NodeGetStorageHealthRequest) (*csi.NodeGetStorageHealthResponse, error) {
	var all []volumehealth.Problem
	for _, name := range n.config.Pools.Names() {
		problems, err := n.config.Monitor.Pool(ctx, name)
		if errors.Is(err, pools.ErrNotOpen) {
			continue
		}
		if err != nil {
			return nil, answer(err)
		}
		for _, problem := range problems {
			problem.Message = "pool " + name + ": " + problem.Message
			all = append(all, problem)
		}
	}
	return &csi.NodeGetStorageHealthResponse{BackendHealth: volumehealth.Backends(all)}, nil
}
