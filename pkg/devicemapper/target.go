package devicemapper

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernel's names of the targets that have a type in this package.
const (
	TypeLinear    = "linear"
	TypeThin      = "thin"
	TypeThinPool  = "thin-pool"
	TypeError     = "error"
	TypeZero      = "zero"
	TypeLogWrites = "log-writes"
	TypeFlakey    = "flakey"
	TypeDust      = "dust"
)

// Target is what a segment of a table maps to: Linear, Thin, ThinPool, Zero,
// ErrorTarget, LogWrites, Flakey, Dust, or RawTarget for all the others.
type Target interface {
	// Type returns the kernel's name of the target.
	Type() string
	// params returns the target's part of a table line, or an *InvalidError.
	params() (string, error)
}

// RawTarget is any target in the kernel's own words. It serves those that
// have no type here (delay, crypt, …), and Client.Table returns it
// for a line of a known target that it cannot read, such as the "Fail" of a
// thin device whose pool has failed.
type RawTarget struct {
	TargetType string // 1 to 15 characters
	Params     string // may be empty
}

// Type returns TargetType.
func (t RawTarget) Type() string { return t.TargetType }

func (t RawTarget) params() (string, error) {
	if t.TargetType == "" || len(t.TargetType) >= unix.DM_MAX_TYPE_NAME || strings.ContainsAny(t.TargetType, "\x00 ") {
		return "", invalid("target type", t.TargetType, fmt.Sprintf("1 to %d characters without blanks", unix.DM_MAX_TYPE_NAME-1))
	}
	if strings.Contains(t.Params, "\x00") {
		return "", invalid("target parameters", t.Params, "text without a zero byte")
	}
	return t.Params, nil
}

// parseTarget reads a table line back. What it cannot read exactly stays raw.
func parseTarget(targetType, params string) Target {
	var target Target
	var err error
	switch targetType {
	case TypeLinear:
		target, err = parseLinear(params)
	case TypeThin:
		target, err = parseThin(params)
	case TypeThinPool:
		target, err = parseThinPool(params)
	case TypeZero:
		target, err = Zero{}, wantFields(params, 0)
	case TypeError:
		target, err = ErrorTarget{}, wantFields(params, 0)
	case TypeLogWrites:
		target, err = parseLogWrites(params)
	case TypeFlakey:
		target, err = parseFlakey(params)
	case TypeDust:
		target, err = parseDust(params)
	default:
		return RawTarget{TargetType: targetType, Params: params}
	}
	if err != nil {
		return RawTarget{TargetType: targetType, Params: params}
	}
	return target
}

func wantFields(params string, want int) error {
	if have := len(strings.Fields(params)); have != want {
		return fmt.Errorf("%d fields instead of %d", have, want)
	}
	return nil
}

// number reads an unsigned decimal as the kernel prints it: no sign, no blanks.
func number[T ~uint32 | ~uint64](field string) (T, error) {
	n, err := strconv.ParseUint(field, 10, 64)
	if err == nil && uint64(T(n)) != n {
		err = strconv.ErrRange
	}
	return T(n), err
}
