package headroom

import "math/bits"

// Of computes what the pool can still promise: the smaller of what the overprovisioning rule leaves and of what is
// physically free, each less the share that stays free, in whole blocks; nothing where the pool does not admit. It never
// is negative, and no value of its argument makes it overflow.
//
//	by rule       overprovision × (total − minFree − bases) − promised − pending
//	by space      total − used − minFree
func Of(p Pool) Room {
	if !p.Admitting || p.BlockSize <= 0 || p.DataTotal <= 0 {
		return Room{}
	}
	kept := percentUp(p.DataTotal, p.MinFreePercent)
	byRule := positive(milli(p.DataTotal-kept-positive(p.BaseBytes), max(1000, p.OverprovisionMilli))-positive(p.Promised)) - positive(p.PendingBytes)
	bySpace := p.DataTotal - positive(p.DataUsed) - kept
	total := positive(min(byRule, bySpace)) / p.BlockSize * p.BlockSize
	return Room{Total: total, LargestVolume: total}
}

func positive(n int64) int64 { return max(0, n) }

// percentUp is percent of n, rounded up.
func percentUp(n int64, percent int) int64 {
	p := uint64(min(max(percent, 0), 100))
	high, low := bits.Mul64(uint64(n), p)
	low, carry := bits.Add64(low, 99, 0)
	quotient, _ := bits.Div64(high+carry, low, 100)
	return int64(quotient)
}

const largest = 1<<63 - 1

// milli is n × thousandths / 1000, rounded down, and the largest number where that would be more.
func milli(n, thousandths int64) int64 {
	if n <= 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(n), uint64(thousandths))
	if high >= 1000 {
		return largest
	}
	quotient, _ := bits.Div64(high, low, 1000)
	if quotient > largest {
		return largest
	}
	return int64(quotient)
}
