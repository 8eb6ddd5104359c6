package filesystem

import "strconv"

// ext4Features are pinned: none that a kernel before 5.4 would not mount. metadata_csum_seed lets a volume get a UUID of
// its own without a rewrite of every checksum.
const ext4Features = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super," +
	"large_file,huge_file,dir_nlink,extra_isize,metadata_csum,metadata_csum_seed"

// growthFactor is how far ext4 can be grown before group descriptors have to move: space for the descriptors of eight
// times the size is reserved, which makes a later growth cheap.
const growthFactor = 8

// maximumExt4Blocks bounds the reservation; mke2fs cuts it down further to what fits its resize inode.
const maximumExt4Blocks = 1 << 40

const ext4BlockSize = 4096

func ext4Arguments(size int64, chosen mkfsChoice) []string {
	blocks := size / ext4BlockSize
	reserved := min(blocks*growthFactor, maximumExt4Blocks)
	extended := "nodiscard,assume_storage_prezeroed=1,lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0"
	if reserved > blocks {
		extended += ",resize=" + strconv.FormatInt(reserved, 10)
	}
	features := ext4Features
	for _, feature := range chosen.features {
		features += "," + feature
	}
	arguments := []string{
		"mkfs.ext4", "-q", "-F",
		"-b", strconv.Itoa(ext4BlockSize),
		"-I", chosen.value("-I", "256"),
		"-i", chosen.value("-i", ext4BytesPerInode(size)),
		"-m", chosen.value("-m", "0"),
		"-O", features,
		"-E", extended,
	}
	if journal, ok := chosen.single["-J"]; ok {
		arguments = append(arguments, "-J", journal)
	}
	return arguments
}

// ext4BytesPerInode is the rule of e2fsprogs' own configuration: fewer inodes from 4 TiB on, fewer still from 16 TiB on.
func ext4BytesPerInode(size int64) string {
	switch {
	case size >= 16<<40:
		return "65536"
	case size >= 4<<40:
		return "32768"
	}
	return "16384"
}
