package filesystem

import "fmt"

// Type is a file system that a volume can have.
type Type string

// The file systems that csi-dm makes.
const (
	Ext4 Type = "ext4"
	XFS  Type = "xfs"
)

// Types are the supported types, for error messages.
var Types = []Type{Ext4, XFS}

// Format is a file system as it is made: its type and extra mkfs arguments, in their given order. Two volumes of the same
// size with equal formats can share a base.
type Format struct {
	Type Type
	// Extra arguments of mkfs that ParseMkfsOptions accepted.
	Options []string
}

// ParseType reads a type by its name.
func ParseType(name string) (Type, error) {
	switch t := Type(name); t {
	case Ext4, XFS:
		return t, nil
	}
	return "", fmt.Errorf("file system type %.64q is not supported: allowed are %v", name, Types)
}
