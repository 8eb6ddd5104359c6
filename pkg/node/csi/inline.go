package csi

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/parameters"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// An inline ephemeral volume is a part of its pod: kubelet names it by a hash of the pod and of the volume's name in the pod,
// publishes it without staging it, and says everything about it in its attributes. It lives in the pool's registry alone. Its
// owner there (thinpool.VolumeSpec) is where its one mount is, as a path below kubelet's directory, which tells the pod: a volume
// that was made for a claim has no owner, so neither can pass for the other.

// inlinePattern is kubelet's place for such a volume's mount, below its directory; the first group is the pod's directory, the
// second the pod's uid.
var inlinePattern = regexp.MustCompile(`^(pods/([A-Za-z0-9-]{1,64}))/volumes/kubernetes\.io~csi/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/mount$`)

// inlineRequest is what kubelet asks for when it publishes an inline volume.
type inlineRequest struct {
	target  string
	pool    string
	spec    thinpool.VolumeSpec
	options filesystem.MountOptions
	// readOnly is among the options, too.
	readOnly bool
}

// parseInline checks all that can be known of the request before anything is looked up.
func (n *Node) parseInline(request *csi.NodePublishVolumeRequest) (inlineRequest, error) {
	if n.config.InlineSizeLimit <= 0 {
		return inlineRequest{}, badField(fieldVolumeContext, "inline ephemeral volumes are not enabled (--ephemeral-size-limit, node.inlineEphemeralVolumes of the chart)")
	}
	if request.GetVolumeCapability().GetBlock() != nil {
		return inlineRequest{}, badField("volume_capability.block", "an inline ephemeral volume has a file system: allowed are %v", filesystem.Types)
	}
	wanted, err := parseCapability(request.GetVolumeCapability())
	if err != nil {
		return inlineRequest{}, err
	}
	inline, err := parameters.ParseInline(request.GetVolumeContext(), wanted.fsType, n.config.InlineSizeLimit)
	if err != nil {
		return inlineRequest{}, badField(fieldVolumeContext, "%w", err)
	}
	owner, err := filepath.Rel(n.config.Kubelet.Directory(), request.GetTargetPath())
	if err != nil {
		return inlineRequest{}, badField(fieldTargetPath, "%w", err)
	}
	if place := inlinePattern.FindStringSubmatch(owner); place == nil || place[2] != inline.PodUID {
		return inlineRequest{}, badField(fieldTargetPath, "%.300q is not the place of an inline volume of the pod %.64q: %s/pods/UID/volumes/kubernetes.io~csi/NAME/mount",
			request.GetTargetPath(), inline.PodUID, n.config.Kubelet.Directory())
	}
	parsed := inlineRequest{
		target: request.GetTargetPath(), pool: inline.Pool, readOnly: wanted.readOnly || request.GetReadonly(),
		spec: thinpool.VolumeSpec{Name: request.GetVolumeId(), Size: inline.Size, Format: inline.Format, Owner: owner},
	}
	if parsed.readOnly {
		wanted.mountFlags = append(slices.Clone(wanted.mountFlags), "ro")
	}
	parsed.options, err = wanted.options(inline.Format.Type)
	return parsed, err
}

// notInline refuses a pod's own volume where one of a claim is meant.
func notInline(volume thinpool.Volume) error {
	if volume.Owner != "" {
		return fmt.Errorf("%w: %q", errInline, volume.Name)
	}
	return nil
}
