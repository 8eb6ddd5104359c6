package thinpool

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
)

// How a pool grows. What its devices have behind their last area, and all but the label of a device that was added, is new
// space. It becomes data, but for what the metadata has to grow by, and the spare with it:
//
//	device i   … what was there | metadata | spare | data …
//
// Areas never move and never shrink, and the areas of a kind follow one another in the order in which they were added: what
// a kernel device mapped it maps for ever, and more behind it.

// span is space that no area takes, in bytes of a device.
type span struct {
	device        int
	start, length int64
}

// grown gives the label of the pool with the new space of its devices, whose sizes in bytes are given in order; those
// that the label does not know are added. used is what the metadata holds, in bytes: where that is more than half of it,
// the metadata grows beyond the rule. Without new space for a block, and for the metadata that it may call for, the label
// stays as it is. A device that is too small for what it is for is a *FieldError.
func (l label) grown(sizes []int64, used int64) (label, error) {
	g := l
	g.Areas, g.Devices = slices.Clone(l.Areas), slices.Clone(l.Devices)
	for i := len(l.Devices); i < len(sizes); i++ {
		if least := labelArea + max(minimumData, minimumDataBlocks*l.BlockSectors.Bytes()); sizes[i] < least {
			return l, l.tooSmall(fmt.Sprintf("source.devices[%d]", i), sizes[i], least)
		}
		g.Devices = append(g.Devices, labelDevice{ID: randomID()})
	}
	grow := g.growTogether
	if l.separate() {
		grow = g.growSeparate
	}
	if err := grow(sizes, used); err != nil || slices.Equal(g.Areas, l.Areas) {
		return l, err
	}
	for i, size := range sizes {
		g.Devices[i].Sectors = devicemapper.SectorsOf(size)
	}
	if err := g.validate(); err != nil {
		return l, fmt.Errorf("plan: %w", err)
	}
	if _, err := g.encode(); err != nil {
		return l, err
	}
	return g, nil
}

// growTogether gives new space on any device to data, and to metadata and spare on the device that has most of it.
func (l *label) growTogether(sizes []int64, used int64) error {
	free, block := l.free(sizes), l.BlockSectors.Bytes()
	most := slices.MaxFunc(free, func(a, b span) int { return cmp.Compare(a.length, b.length) }).device
	if more := l.metadataNeeded(sizes, used, free[most].length); more > 0 {
		rest := free[most].aligned()
		if rest.length < 2*more+block {
			return nil // until there is more
		}
		rest = l.take(areaMetadata, rest, more)
		free[most] = l.take(areaSpare, rest, more)
	}
	for _, s := range free {
		l.take(areaData, s, s.length/block*block)
	}
	return nil
}

// metadataNeeded is how much the metadata has to grow by, in bytes: to what the rule wants of a pool on devices of these
// sizes, or to twice of what is used, for which it may take a quarter of the room, as the spare takes another.
func (l label) metadataNeeded(sizes []int64, used, room int64) int64 {
	var total int64
	for _, size := range sizes {
		total += max(0, size-labelArea)
	}
	have := l.size(areaMetadata)
	rule := metadataSize(total, l.BlockSectors.Bytes()) - have
	doubled := min(roundUp(2*used, metadataRounding), maximumMetadata) - have
	return max(0, rule, min(doubled, room/4/metadataRounding*metadataRounding))
}

// growSeparate gives new space on device 0 to data and on device 1 to metadata and spare. Data for which the metadata would
// be too small is refused.
func (l *label) growSeparate(sizes []int64, _ int64) error {
	free, block := l.free(sizes), l.BlockSectors.Bytes()
	own := free[1].aligned()
	half := min(own.length/2/metadataRounding*metadataRounding, maximumMetadata-l.size(areaMetadata))
	l.take(areaSpare, l.take(areaMetadata, own, half), half)
	l.take(areaData, free[0], free[0].length/block*block)
	if needs := metadataSize(l.size(areaData), block); l.size(areaMetadata) < needs {
		return l.tooSmall("source.metadataDevice", sizes[1], labelArea+2*needs)
	}
	return nil
}

// free is what each device has behind its last area.
func (l label) free(sizes []int64) []span {
	free := make([]span, len(sizes))
	for i, size := range sizes {
		end := int64(labelArea)
		for _, a := range l.Areas {
			if a.Device == i {
				end = max(end, (a.Start + a.Length).Bytes())
			}
		}
		free[i] = span{i, end, max(0, size-end)}
	}
	return free
}

// aligned is the span without what lies before the next place for an area.
func (s span) aligned() span {
	start := roundUp(s.start, alignment)
	return span{s.device, start, max(0, s.length-(start-s.start))}
}

// take makes the first length bytes of a span an area, and gives the rest. Where the last area of the kind ends there it
// becomes longer.
func (l *label) take(kind areaKind, s span, length int64) (rest span) {
	if length <= 0 {
		return s
	}
	start, sectors := devicemapper.SectorsOf(s.start), devicemapper.SectorsOf(length)
	last := -1
	for i, a := range l.Areas {
		if a.Kind == kind {
			last = i
		}
	}
	if last >= 0 && l.Areas[last].Device == s.device && l.Areas[last].Start+l.Areas[last].Length == start {
		l.Areas[last].Length += sectors
	} else {
		l.Areas = append(l.Areas, area{Kind: kind, Device: s.device, Start: start, Length: sectors})
	}
	return span{s.device, s.start + length, s.length - length}
}

// size is the length of all areas of a kind, in bytes.
func (l label) size(kind areaKind) int64 {
	var size devicemapper.Sectors
	for _, a := range l.Areas {
		if a.Kind == kind {
			size += a.Length
		}
	}
	return size.Bytes()
}

func (l label) tooSmall(field string, size, least int64) error {
	return &FieldError{
		Field: field, Value: fmt.Sprintf("%d bytes", size),
		Allowed: fmt.Sprintf("at least %d bytes at a block size of %d", least, l.BlockSectors.Bytes()),
	}
}
