//go:build kernel

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// inlinePod is the uid of the pod with the inline volume.
const inlinePod = "0a1b-killed"

func (j *killedJob) staging() string         { return filepath.Join(j.Kubelet, "staging") }
func (j *killedJob) restoredStaging() string { return filepath.Join(j.Kubelet, "staging-restored") }
func (j *killedJob) target() string          { return filepath.Join(j.Kubelet, "pod", "mount") }
func (j *killedJob) inlineTarget() string {
	return filepath.Join(j.Kubelet, "pods", inlinePod, "volumes/kubernetes.io~csi/scratch/mount")
}

// makeDirectories makes what kubelet makes before it calls.
func (j *killedJob) makeDirectories() error {
	var errs []error
	for _, directory := range []string{j.staging(), j.restoredStaging(), filepath.Dir(j.target()), filepath.Dir(j.inlineTarget())} {
		errs = append(errs, os.MkdirAll(directory, 0o750))
	}
	return errors.Join(errs...)
}

func killedCapability() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: "ext4"}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	}
}

func (p *killedProcess) stage(ctx context.Context, volume, staging string) error {
	_, err := p.node.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{
		VolumeId: volume, StagingTargetPath: staging, VolumeCapability: killedCapability(),
	})
	return err
}

func (p *killedProcess) unstage(ctx context.Context, volume, staging string) error {
	_, err := p.node.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: volume, StagingTargetPath: staging})
	return err
}

func (p *killedProcess) publish(ctx context.Context) error {
	_, err := p.node.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
		VolumeId: killedVolume, StagingTargetPath: p.staging(), TargetPath: p.target(), VolumeCapability: killedCapability(),
	})
	return err
}

func (p *killedProcess) publishInline(ctx context.Context) error {
	_, err := p.node.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
		VolumeId: killedInline, TargetPath: p.inlineTarget(), VolumeCapability: killedCapability(),
		VolumeContext: map[string]string{
			"csi.storage.k8s.io/ephemeral": "true", "csi.storage.k8s.io/pod.uid": inlinePod,
			v1alpha1.ParameterPool: "fast", v1alpha1.AttributeSize: strconv.FormatInt(p.Size, 10),
		},
	})
	return err
}

func (p *killedProcess) unpublish(ctx context.Context, volume, target string) error {
	p.reached("before the call")
	_, err := p.node.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: volume, TargetPath: target})
	return err
}

// expand has the file system grown to the size that its device has by now.
func (p *killedProcess) expand(ctx context.Context) error {
	p.reached("before the call")
	answer, err := p.node.NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{
		VolumeId: killedVolume, VolumePath: p.target(), StagingTargetPath: p.staging(), VolumeCapability: killedCapability(),
		CapacityRange: &csi.CapacityRange{RequiredBytes: p.grown()},
	})
	if err != nil {
		return err
	}
	var seen unix.Statfs_t
	if err := unix.Statfs(p.target(), &seen); err != nil {
		return err
	}
	if size := int64(seen.Blocks) * seen.Bsize; answer.GetCapacityBytes() != p.grown() || size <= p.Size {
		return fmt.Errorf("the answer is %d bytes, the file system has %d", answer.GetCapacityBytes(), size)
	}
	return nil
}

func writeDurably(directory, content string) error {
	file, err := os.Create(filepath.Join(directory, "file"))
	if err != nil {
		return err
	}
	_, err = file.WriteString(content)
	return errors.Join(err, file.Sync(), file.Close())
}

// holds sees that the file in a directory has been written so.
func holds(directory, content string) error {
	found, err := os.ReadFile(filepath.Join(directory, "file"))
	if err == nil && string(found) != content {
		err = fmt.Errorf("the file holds %q and not %q", found, content)
	}
	return err
}
