package filesystem

import "os"

// ioctls of xfs (fs/xfs/libxfs/xfs_fs.h).
const (
	xfsGrowFSData   = 0x4010586e // XFS_IOC_FSGROWFSDATA, _IOW('X', 110, struct xfs_growfs_data)
	xfsFSGeometryV1 = 0x80705864 // XFS_IOC_FSGEOMETRY_V1, _IOR('X', 100, struct xfs_fsop_geom_v1)
)

// xfsGrowth is struct xfs_growfs_data. The share of inodes is set to what is given, so it must be the present one.
type xfsGrowth struct {
	newBlocks     uint64
	inodesPercent uint32
	_             uint32
}

// xfsGeometry is struct xfs_fsop_geom_v1, as far as it is used here.
type xfsGeometry struct {
	blockSize     uint32
	_             [6]uint32
	inodesPercent uint32
	dataBlocks    uint64
	_             [72]byte
}

// growXFS grows an xfs. The kernel adds allocation groups of the size that there is, and leaves out a last one that would be
// below its minimum.
func growXFS(root *os.File, size int64) (grown bool, err error) {
	var geometry xfsGeometry
	if err := ioctl(root, xfsFSGeometryV1, "XFS_IOC_FSGEOMETRY_V1", &geometry); err != nil {
		return false, err
	}
	present := Superblock{Type: XFS, Size: int64(geometry.dataBlocks) * int64(geometry.blockSize)}
	switch {
	case size < present.Size-growthUnit:
		return false, shrinks(present.Size, size)
	case !present.Smaller(size):
		return false, nil
	}
	growth := xfsGrowth{newBlocks: uint64(size) / uint64(geometry.blockSize), inodesPercent: geometry.inodesPercent}
	return true, ioctl(root, xfsGrowFSData, "XFS_IOC_FSGROWFSDATA", &growth)
}
