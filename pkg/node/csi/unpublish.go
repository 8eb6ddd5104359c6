package csi

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// NodeUnpublishVolume takes the volume out of the pod's directory, or its device off the pod's file, and removes that.
func (n *Node) NodeUnpublishVolume(_ context.Context, request *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if err := n.unpublish(request); err != nil {
		return nil, answer(err)
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func (n *Node) unpublish(request *csi.NodeUnpublishVolumeRequest) error {
	id, path := request.GetVolumeId(), request.GetTargetPath()
	if err := volumeid.Check(fieldVolumeID, id); err != nil {
		return err
	}
	if err := n.checkPath(fieldTargetPath, path); err != nil {
		return err
	}
	end, err := n.inFlight.begin(id, "unpublish")
	if err != nil {
		return err
	}
	defer end()

	// The pool is not asked: what is mounted must go, whether the volume is known or not.
	if err := n.unmount(path); err != nil {
		return inField(fieldTargetPath, err)
	}
	return inField(fieldTargetPath, n.config.Kubelet.Remove(path))
}
