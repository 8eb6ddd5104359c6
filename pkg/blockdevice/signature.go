package blockdevice

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Signature is the trace of a use that a device was put to: a file system, a partition table, a member of something.
type Signature struct {
	// Type is libblkid's name for it: "ext4", "xfs", "gpt", "dos", "LVM2_member", "crypto_LUKS", …
	Type string
	// Offset in bytes at which its magic stands.
	Offset string
	// UUID and Label that it carries, where it has them.
	UUID, Label string
}

// String returns type and offset.
func (s Signature) String() string { return s.Type + " at " + s.Offset }

// Signatures returns what libblkid recognises on the device, none for a blank one. It runs wipefs of util-linux: libblkid
// knows some eighty formats and their quirks, and this runs once in a device's life.
func Signatures(ctx context.Context, path string) ([]Signature, error) {
	output, err := wipefs(ctx, "--no-act", "--json", "--", path)
	if err != nil {
		return nil, err
	}
	return parseSignatures(output)
}

// EraseSignatures removes the signatures of the given types, and no others. Which those are is Signatures' answer. The
// caller has the device for itself by [Open]; what was in a partition table is still known to the kernel afterwards, until
// [ForgetPartitions].
func EraseSignatures(ctx context.Context, path string, types []string) error {
	if len(types) == 0 {
		return nil
	}
	for _, t := range types {
		if t == "" || strings.ContainsAny(t, ",\x00") || strings.HasPrefix(t, "no") {
			// wipefs reads a list that begins with "no" as its opposite.
			return fmt.Errorf("signature type %q cannot be removed by name", t)
		}
	}
	// Forced, because wipefs would want the exclusive use that the caller has.
	_, err := wipefs(ctx, "--force", "--all", "--types", strings.Join(types, ","), "--", path)
	return err
}

// TypesOf returns the distinct types of signatures, in order.
func TypesOf(signatures []Signature) []string {
	var types []string
	for _, s := range signatures {
		types = append(types, s.Type)
	}
	slices.Sort(types)
	return slices.Compact(types)
}

func wipefs(ctx context.Context, arguments ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, "wipefs", arguments...)
	var complaint strings.Builder
	command.Stderr = &complaint
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("wipefs: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return output, nil
}

// parseSignatures reads the output of wipefs --json. Nothing at all is what older versions print for a blank device.
func parseSignatures(output []byte) ([]Signature, error) {
	if len(strings.TrimSpace(string(output))) == 0 {
		return nil, nil
	}
	var listed struct {
		Signatures []struct {
			Offset, Type string
			UUID, Label  *string
		}
	}
	if err := json.Unmarshal(output, &listed); err != nil {
		return nil, fmt.Errorf("wipefs: answer cannot be read: %w", err)
	}
	var signatures []Signature
	for _, l := range listed.Signatures {
		s := Signature{Type: l.Type, Offset: l.Offset}
		if s.Type == "" {
			return nil, fmt.Errorf("wipefs: a signature without a type in %q", output)
		}
		if l.UUID != nil {
			s.UUID = *l.UUID
		}
		if l.Label != nil {
			s.Label = *l.Label
		}
		signatures = append(signatures, s)
	}
	return signatures, nil
}
