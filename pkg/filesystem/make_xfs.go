package filesystem

import (
	"fmt"
	"strconv"
)

// xfsGroups is how many allocation groups a file system of up to 4 TiB has, as mkfs.xfs chooses on a plain disk; on a thin
// device it would take the pool's block size for the stripes of an array and choose 16 or more, each of which costs
// pool space.
const xfsGroups = 4

// xfsGroupSize is the largest allocation group in bytes (XFS_AG_MAX_BYTES, 1 TiB) less one block of 4 KiB.
const xfsGroupSize = 1<<40 - 4096

// xfsLargestLog is the log in MiB that no larger file system gets by itself, and xfsLargeSize the size in bytes from which
// on mkfs.xfs would choose a larger one (1/2048 of the file system, up to 2 GiB). All of the log is written, so it is pool
// space and time that the base costs.
const (
	xfsLargestLog = "128m"
	xfsLargeSize  = 256 << 30
)

func xfsArguments(size int64, chosen mkfsChoice) []string {
	groups := max(xfsGroups, (size+xfsGroupSize-1)/xfsGroupSize)
	data := "agcount=" + chosen.sub("-d", "agcount", strconv.FormatInt(groups, 10)) + ",noalign"
	metadata := fmt.Sprintf("crc=1,finobt=1,reflink=%s,rmapbt=%s,bigtime=%s,inobtcount=%s",
		chosen.sub("-m", "reflink", "1"), chosen.sub("-m", "rmapbt", "0"),
		chosen.sub("-m", "bigtime", "1"), chosen.sub("-m", "inobtcount", "1"))
	inodes := "size=" + chosen.sub("-i", "size", "512") + ",sparse=1,nrext64=0"
	if share := chosen.sub("-i", "maxpct", ""); share != "" {
		inodes += ",maxpct=" + share
	}
	names := "version=2,ftype=1"
	if size := chosen.sub("-n", "size", ""); size != "" {
		names += ",size=" + size
	}
	arguments := []string{"mkfs.xfs", "-q", "-f", "-K", "-b", "size=4096", "-m", metadata, "-i", inodes, "-n", names, "-d", data}
	log := ""
	if size > xfsLargeSize {
		log = xfsLargestLog
	}
	if log = chosen.sub("-l", "size", log); log != "" {
		arguments = append(arguments, "-l", "size="+log)
	}
	return arguments
}
