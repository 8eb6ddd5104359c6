package bench

import (
	"bufio"
	"fmt"
	"io"
)

// mappedThin is a thin device of a pool's metadata that is to be made with thin_restore(8).
type mappedThin struct {
	id       uint32
	mappings int64 // virtual blocks 0 … mappings-1; a power of two
	// scattered: neighbours lie far apart in the pool's data. If not, they are neighbours there as well.
	scattered bool
}

// writeThinXML writes a pool's metadata as thin_restore reads it. The mappings of the devices follow one another in the
// pool's data.
func writeThinXML(to io.Writer, transaction uint64, blockSectors, dataBlocks int64, thins []mappedThin) error {
	w := bufio.NewWriterSize(to, 1<<20)
	fmt.Fprintf(w, "<superblock uuid=\"\" time=\"0\" transaction=\"%d\" data_block_size=\"%d\" nr_data_blocks=\"%d\">\n", transaction, blockSectors, dataBlocks)
	var first int64
	for _, thin := range thins {
		fmt.Fprintf(w, "<device dev_id=\"%d\" mapped_blocks=\"%d\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\">\n", thin.id, thin.mappings)
		switch {
		case thin.scattered:
			for i := range thin.mappings {
				fmt.Fprintf(w, "<single_mapping origin_block=\"%d\" data_block=\"%d\" time=\"0\"/>\n", i, first+scatter(i, thin.mappings))
			}
		case thin.mappings > 0:
			fmt.Fprintf(w, "<range_mapping origin_begin=\"0\" data_begin=\"%d\" length=\"%d\" time=\"0\"/>\n", first, thin.mappings)
		}
		fmt.Fprintln(w, "</device>")
		first += thin.mappings
	}
	fmt.Fprintln(w, "</superblock>")
	return w.Flush()
}

// scatter maps 0 … n-1 onto itself, neighbours far apart: a multiplication by an odd number permutes the residues of a power
// of two.
func scatter(i, n int64) int64 { return i * 2654435761 % n }
