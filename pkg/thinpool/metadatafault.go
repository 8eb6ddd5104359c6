package thinpool

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/thinmetadata"
)

// noteMetadata notes an error that says that the pool's metadata cannot be read, or is damaged. The kernel takes a pool to
// read-only when it cannot write metadata. When it cannot read it, it fails the request that needed the block and goes on in
// mode rw, without a demand for a check (metadata_operation_failed in drivers/md/dm-thin.c is called for changes alone). Of a mapping
// that cannot be read nobody but its volume would hear, so whatever meets such an error notes it here: the pool says that it needs a
// check and takes no new volume until a check finds the metadata sound, or the pool is opened anew.
func (p *Pool) noteMetadata(ctx context.Context, err error) {
	if !errors.Is(err, thinmetadata.ErrDamaged) && !metadataUnreadable(err) {
		return
	}
	p.mutex.Lock()
	first := p.metadataFault == ""
	if first {
		p.metadataFault = err.Error()
	}
	p.mutex.Unlock()
	if first {
		klog.FromContext(ctx).Error(err, "The thin pool's metadata cannot be read, it needs a check", "pool", p.label.PoolName)
	}
}

// metadataUnreadable tells whether the kernel, or a read of this process, met a block of the metadata that cannot be read (EIO) or
// that fails the kernel's check (EILSEQ, from dm_bm_read_lock in drivers/md/persistent-data/dm-block-manager.c). A message to the
// pool and the loading of a thin device read metadata alone.
func metadataUnreadable(err error) bool {
	var call *devicemapper.Error
	if errors.As(err, &call) {
		return (call.Op == "message" || call.Op == "load") && (call.Errno == unix.EIO || call.Errno == unix.EILSEQ)
	}
	var read *metadataReadError
	return errors.As(err, &read) && errors.Is(err, unix.EIO)
}

// metadataReadError marks an error of reading the metadata's device.
type metadataReadError struct{ error }

func (e *metadataReadError) Unwrap() error { return e.error }

// thinStatus reads the status of a thin device. For that the kernel looks for its highest mapping.
func (p *Pool) thinStatus(ctx context.Context, ref devicemapper.Ref, thin uint32) (devicemapper.ThinStatus, error) {
	status, err := p.dm.ThinStatus(ctx, ref)
	if err == nil && status.State == devicemapper.ThinStateError {
		p.noteMetadata(ctx, &metadataReadError{fmt.Errorf("the kernel cannot read the mapping of thin device %d: %w", thin, unix.EIO)})
	}
	return status, err
}

// metadataFaultText says what is to be done about metadata that could not be read. The mutex must be held.
func (p *Pool) metadataFaultText() string {
	_, metadata := p.devicesBelow()
	return fmt.Sprintf("reading the metadata failed since the pool was opened, it needs a check (thin_check); the metadata is on %s: %s", metadata, p.metadataFault)
}

// metadataSound forgets what was noted, since a check has read all of the metadata.
func (p *Pool) metadataSound() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.metadataFault = ""
}
