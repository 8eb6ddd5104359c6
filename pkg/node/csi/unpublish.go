package csi

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// NodeUnpublishVolume takes the volume out of the pod's directory, or its device off the pod's file, and removes that. A pod's
// inline volume is deleted.
func (n *Node) NodeUnpublishVolume(ctx context.Context, request *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if err := n.unpublish(ctx, request); err != nil {
		return nil, answer(err)
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func (n *Node) unpublish(ctx context.Context, request *csi.NodeUnpublishVolumeRequest) error {
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
	if err := n.deleteInline(ctx, id, path); err != nil {
		return err
	}
	return inField(fieldTargetPath, n.config.Kubelet.Remove(path))
}
