package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/csi-dm/csi-dm/pkg/blockdevice"
)

// claim is the exclusive use of devices that are to become a pool's, from the look at what they hold until their labels are
// written: of two processes that want one device, the second finds the first's claim, its label or its kernel devices. Each
// of them may have read the labels before the other wrote any, so they are read again here.
type claim struct {
	files []*os.File
	// erased are the paths of those that lost a signature.
	erased []string
}

// claim makes sure that the devices are free for a pool: nobody uses one, none carries another label than it was opened
// with, and none a signature but those in force, which are removed. The caller releases the claim before any kernel device
// can be on them.
func (s sourceDevices) claim(ctx context.Context, force []string) (_ *claim, err error) {
	c := new(claim)
	defer func() {
		if err != nil {
			err = errors.Join(err, c.release())
		}
	}()
	found := make([][]string, len(s))
	for i, device := range s {
		file, _, err := blockdevice.Open(device.Path)
		if errors.Is(err, blockdevice.ErrInUse) {
			return nil, fmt.Errorf("%w: %s is mounted, or part of another volume or of a raid", ErrDeviceInUse, device.Path)
		}
		if err != nil {
			return nil, err
		}
		c.files = append(c.files, file)
		if err := device.sameLabel(file); err != nil {
			return nil, err
		}
		if found[i], err = device.signatures(ctx, force); err != nil {
			return nil, err
		}
	}
	// Only now that none of the devices is refused.
	for i, device := range s {
		if err := blockdevice.EraseSignatures(ctx, device.Path, found[i]); err != nil {
			return nil, err
		}
		if len(found[i]) > 0 {
			c.erased = append(c.erased, device.Path)
		}
		if left, err := blockdevice.Signatures(ctx, device.Path); err != nil || len(left) > 0 {
			return nil, errors.Join(err, fmt.Errorf("%w: %s still carries %s", ErrSignatureFound, device.Path, describeSignatures(left)))
		}
	}
	return c, nil
}

// add takes the devices of another claim into this one.
func (c *claim) add(other *claim) {
	c.files, c.erased = append(c.files, other.files...), append(c.erased, other.erased...)
}

// release lets others have the devices. A second call does nothing.
func (c *claim) release() error {
	var errs []error
	for _, file := range c.files {
		errs = append(errs, file.Close())
	}
	for _, path := range c.erased {
		errs = append(errs, blockdevice.ForgetPartitions(path))
	}
	c.files, c.erased = nil, nil
	return errors.Join(errs...)
}

// sameLabel looks whether the device still carries the label, or none, that was read when it was opened.
func (d sourceDevice) sameLabel(file *os.File) error {
	if d.Size < labelArea {
		return nil
	}
	current, err := readLabel(file)
	switch {
	case err != nil && !errors.Is(err, errNoLabel):
		return fmt.Errorf("%s: %w", d.Path, err)
	case current.PoolID == d.label.PoolID:
		return nil
	case err != nil:
		return fmt.Errorf("%w: %s: its label was removed by another process meanwhile", ErrDeviceInUse, d.Path)
	}
	return fmt.Errorf("%w: %s was given to pool %q (%s) by another process meanwhile", ErrDeviceInUse, d.Path, current.PoolName, current.PoolID)
}

// signatures gives the types of what is on the device, all of them in force.
func (d sourceDevice) signatures(ctx context.Context, force []string) ([]string, error) {
	signatures, err := blockdevice.Signatures(ctx, d.Path)
	if err != nil {
		return nil, err
	}
	types := blockdevice.TypesOf(signatures)
	for _, t := range types {
		if !slices.Contains(force, t) {
			return nil, fmt.Errorf("%w: %s: %s carries %s; if what it holds may be destroyed, list it in source.force: [%s]",
				ErrSignatureFound, d.field, d.Path, describeSignatures(signatures), strings.Join(types, ", "))
		}
	}
	return types, nil
}

func describeSignatures(signatures []blockdevice.Signature) string {
	var texts []string
	for _, s := range signatures {
		text := s.String()
		if s.Label != "" {
			text += fmt.Sprintf(" labelled %q", s.Label)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " and ")
}
