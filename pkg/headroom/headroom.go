package headroom

// Pool is what a node says of its pool, and what the cluster has promised of it. All sizes are bytes.
type Pool struct {
	DataTotal, DataUsed int64
	// Data space that the bases hold.
	BaseBytes int64
	// Data space that deleted volumes hold until it is given back.
	PendingBytes int64
	// Share of the data space that stays free, in percent from 0 to 99.
	MinFreePercent int
	// How many times the space may be promised, in thousandths, at least 1,000.
	OverprovisionMilli int64
	// Sum of the sizes of the volumes that exist or were promised.
	Promised int64
	// Whether the pool admits new volumes at all.
	Admitting bool
	// Size of a pool block: headroom is whole blocks.
	BlockSize int64
}

// Room is what a pool can still promise, in bytes.
type Room struct {
	// All that can be promised in volumes together.
	Total int64
	// The largest single volume.
	LargestVolume int64
}
