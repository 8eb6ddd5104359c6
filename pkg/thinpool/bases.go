package thinpool

import (
	"cmp"
	"slices"
	"strings"

	"github.com/csi-dm/csi-dm/pkg/filesystem"
)

// BaseInfo is a base that the pool holds: a formatted thin device that volumes are snapshots of.
type BaseInfo struct {
	// Id of the thin device in the pool.
	ThinID uint32
	// Size of the thin device in bytes, which is that of its volumes.
	Size   int64
	Format filesystem.Format
	// UUID of the file system.
	UUID string
	// Bytes of the pool's data that the base maps.
	MappedBytes int64
}

// Bases gives the bases that are ready, ordered by file system, size and options.
func (p *Pool) Bases() []BaseInfo {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	var list []BaseInfo
	for _, b := range p.bases {
		if b.ready {
			list = append(list, BaseInfo{ThinID: b.record.ThinID, Size: b.record.Size, Format: b.record.Format.format(), UUID: b.record.UUID, MappedBytes: b.record.MappedBytes})
		}
	}
	slices.SortFunc(list, func(a, b BaseInfo) int {
		return cmp.Or(cmp.Compare(a.Format.Type, b.Format.Type), cmp.Compare(a.Size, b.Size),
			strings.Compare(strings.Join(a.Format.Options, " "), strings.Join(b.Format.Options, " ")))
	})
	return list
}
