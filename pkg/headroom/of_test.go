package headroom

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

const (
	mib = int64(1 << 20)
	gib = int64(1 << 30)
)

func TestOf(t *testing.T) {
	pool := Pool{DataTotal: 100 * gib, MinFreePercent: 10, OverprovisionMilli: 1000, Admitting: true, BlockSize: 64 << 10}
	with := func(change func(*Pool)) Pool {
		p := pool
		change(&p)
		return p
	}
	for _, test := range []struct {
		name string
		pool Pool
		want int64
	}{
		{"empty", pool, 90 * gib},
		{"does not admit", with(func(p *Pool) { p.Admitting = false }), 0},
		{"promised", with(func(p *Pool) { p.Promised = 40 * gib }), 50 * gib},
		{"promised and written", with(func(p *Pool) { p.Promised, p.DataUsed = 40*gib, 40*gib }), 50 * gib},
		{"all promised", with(func(p *Pool) { p.Promised = 90 * gib }), 0},
		{"more promised than there is", with(func(p *Pool) { p.Promised = 900 * gib }), 0},
		{"bases", with(func(p *Pool) { p.BaseBytes, p.DataUsed = gib, gib }), 89 * gib},
		{"space bounds", with(func(p *Pool) { p.OverprovisionMilli, p.DataUsed = 10_000, 80*gib }), 10 * gib},
		{"deletions pending", with(func(p *Pool) { p.Promised, p.PendingBytes = 40*gib, 10*gib }), 40 * gib},
		{"rule bounds", with(func(p *Pool) { p.OverprovisionMilli, p.Promised = 2_000, 170*gib }), 10 * gib},
		{"one and a half", with(func(p *Pool) { p.OverprovisionMilli, p.Promised = 1_500, 100*gib }), 35 * gib},
		{"no minimum", with(func(p *Pool) { p.MinFreePercent = 0 }), 100 * gib},
		{"almost all kept", with(func(p *Pool) { p.MinFreePercent = 99 }), gib},
		{"whole blocks", with(func(p *Pool) { p.Promised, p.BlockSize = 1, mib }), 90*gib - mib},
		{"full", with(func(p *Pool) { p.DataUsed = 100 * gib }), 0},
		{"used beyond total", with(func(p *Pool) { p.DataUsed = 200 * gib }), 0},
		{"nothing known", Pool{Admitting: true}, 0},
	} {
		if got := Of(test.pool); got.Total != test.want || got.LargestVolume != test.want {
			t.Errorf("%s: got %+v, want %d", test.name, got, test.want)
		}
	}
}

// reference is the rule in numbers without bounds.
func reference(p Pool) *big.Int {
	n := func(v int64) *big.Int { return big.NewInt(max(0, v)) }
	zero := new(big.Int)
	if !p.Admitting || p.BlockSize <= 0 || p.DataTotal <= 0 {
		return zero
	}
	percent := n(int64(min(max(p.MinFreePercent, 0), 100)))
	kept := new(big.Int).Mul(n(p.DataTotal), percent)
	kept.Add(kept, big.NewInt(99)).Div(kept, big.NewInt(100))
	rule := new(big.Int).Sub(n(p.DataTotal), kept)
	rule.Sub(rule, n(p.BaseBytes))
	if rule.Sign() < 0 {
		rule.SetInt64(0)
	}
	rule.Mul(rule, n(max(1000, p.OverprovisionMilli))).Div(rule, big.NewInt(1000))
	if rule.Cmp(big.NewInt(math.MaxInt64)) > 0 {
		rule.SetInt64(math.MaxInt64)
	}
	rule.Sub(rule, n(p.Promised))
	rule.Sub(rule, n(p.PendingBytes))
	space := new(big.Int).Sub(n(p.DataTotal), n(p.DataUsed))
	space.Sub(space, kept)
	least := rule
	if space.Cmp(rule) < 0 {
		least = space
	}
	if least.Sign() <= 0 {
		return zero
	}
	return new(big.Int).Mul(new(big.Int).Div(least, n(p.BlockSize)), n(p.BlockSize))
}

func randomPool(r *rand.Rand) Pool {
	size := func() int64 {
		n := int64(r.Uint64() >> (1 + r.UintN(63)))
		if r.UintN(20) == 0 {
			return -n
		}
		if r.UintN(20) == 0 {
			return math.MaxInt64
		}
		return n
	}
	return Pool{
		DataTotal: size(), DataUsed: size(), BaseBytes: size(), MinFreePercent: r.IntN(104) - 2,
		OverprovisionMilli: int64(r.UintN(110_000)) - 1000, Promised: size(), PendingBytes: size(), Admitting: r.UintN(10) > 0, BlockSize: size(),
	}
}

func TestOfAgreesWithReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	positive := 0
	for range 200_000 {
		p := randomPool(r)
		got := Of(p)
		if reference(p).Cmp(big.NewInt(got.Total)) != 0 {
			t.Fatalf("%+v: got %d, want %s", p, got.Total, reference(p))
		}
		if got.Total > 0 {
			positive++
		}
	}
	if positive < 10_000 {
		t.Errorf("only %d of the random pools had room: the test shows little", positive)
	}
}

// TestPromisesAreKept: whatever sequence of volumes is promised one after the other, each of the size that Of allowed, with
// an overprovisioning of 1 all of them can be written in full and the minimum stays free.
func TestPromisesAreKept(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		p := Pool{DataTotal: (1 + r.Int64N(1000)) * gib, MinFreePercent: r.IntN(100), OverprovisionMilli: 1000, Admitting: true, BlockSize: 64 << 10, BaseBytes: r.Int64N(gib)}
		p.PendingBytes = r.Int64N(p.DataTotal / 2)
		p.DataUsed = p.BaseBytes + p.PendingBytes
		for {
			room := Of(p)
			if room.LargestVolume == 0 {
				break
			}
			volume := min(room.LargestVolume, (1+r.Int64N(room.LargestVolume/p.BlockSize))*p.BlockSize)
			p.Promised += volume
			p.DataUsed += r.Int64N(volume + 1)
		}
		if left := p.DataTotal - p.BaseBytes - p.PendingBytes - p.Promised; p.Promised > 0 && left < p.DataTotal/100*int64(p.MinFreePercent) {
			t.Fatalf("%+v: when all is written, %d stay free", p, left)
		}
	}
}

// TestMoreIsNeverLess: more used, promised or held by bases never gives more room.
func TestMoreIsNeverLess(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 50_000 {
		p := randomPool(r)
		more := p
		switch r.IntN(5) {
		case 0:
			more.DataUsed += (math.MaxInt64 - max(0, p.DataUsed)) / 3
		case 1:
			more.Promised += (math.MaxInt64 - max(0, p.Promised)) / 3
		case 2:
			more.BaseBytes += (math.MaxInt64 - max(0, p.BaseBytes)) / 3
		case 3:
			more.MinFreePercent++
		case 4:
			more.PendingBytes += (math.MaxInt64 - max(0, p.PendingBytes)) / 3
		}
		if Of(more).Total > Of(p).Total {
			t.Fatalf("%+v has %d, %+v has %d", p, Of(p).Total, more, Of(more).Total)
		}
	}
}
