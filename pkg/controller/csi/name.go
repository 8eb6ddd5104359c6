package csi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

const (
	// maximumNameBytes is the longest request name that the CSI specification lets a caller use.
	maximumNameBytes = 128
	// maximumPlainName leaves room, in a volume's name, for what v1alpha1.VolumeName appends.
	maximumPlainName = 80
)

// hashedName is the form of the names that requestName makes.
var hashedName = regexp.MustCompile(`^request-[0-9a-f]{40}$`)

// requestName is the name of a request as a part of an object's name. One that cannot be that, and one that looks as if it
// had been made here, is replaced by its hash: no character of it gets any further.
func requestName(name string) (string, error) {
	switch {
	case name == "":
		return "", &fieldError{"name", name, "1 to 128 bytes without control characters"}
	case len(name) > maximumNameBytes || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return "", &fieldError{"name", name, "1 to 128 bytes of UTF-8 without control characters"}
	case len(name) <= maximumPlainName && volumeid.Check("name", name) == nil && !hashedName.MatchString(name):
		return name, nil
	}
	sum := sha256.Sum256([]byte(name))
	return "request-" + hex.EncodeToString(sum[:20]), nil
}

// fieldError names a field of a request, its value and what is allowed.
type fieldError struct {
	field   string
	value   any
	allowed string
}

func (e *fieldError) Error() string {
	value := fmt.Sprint(e.value)
	const longest = 64
	if len(value) > longest {
		value = value[:longest] + "…"
	}
	return fmt.Sprintf("%s: %q is not allowed: %s", e.field, value, e.allowed)
}
