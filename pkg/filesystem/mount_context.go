package filesystem

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// contextOption is the option that gives all files of a mount one security label.
const contextOption = "context"

// Context is the security label that the options give to all files, or empty.
func (o MountOptions) Context() string {
	for _, parameter := range o.parameters {
		if parameter.key == contextOption {
			return parameter.value
		}
	}
	return ""
}

// Context is the security label that all files of the mount have by its options, or empty. A file system has one, wherever it is
// mounted.
func (m MountPoint) Context() (string, error) {
	mounts, err := mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) {
		return info.ID != m.ID, info.ID == m.ID
	})
	if err != nil || len(mounts) == 0 {
		return "", err
	}
	return contextIn(mounts[0].VFSOptions), nil
}

// contextIn finds the label among a mount's options as the kernel lists them: with quotes around a value that has commas.
func contextIn(options string) string {
	for options != "" {
		value, found := strings.CutPrefix(options, contextOption+"=")
		if found {
			if quoted, ok := strings.CutPrefix(value, `"`); ok {
				value, _, _ = strings.Cut(quoted, `"`)
				return value
			}
			value, _, _ = strings.Cut(value, ",")
			return value
		}
		options = afterOption(options)
	}
	return ""
}

// afterOption cuts the first option off. Its value may be in quotes, with commas.
func afterOption(options string) string {
	quoted := false
	for i, r := range options {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ',' && !quoted:
			return options[i+1:]
		}
	}
	return ""
}

// SameContext tells whether two labels are one. The kernel writes the categories of a level in its own way: in order, and three
// or more in a row as a range (c1.c3).
func SameContext(a, b string) bool {
	return a == b || slices.Equal(labelParts(a), labelParts(b))
}

func labelParts(label string) []string {
	const fields = 4 // user, role, type, level
	parts := strings.SplitN(label, ":", fields)
	if len(parts) < fields {
		return parts
	}
	for _, level := range strings.Split(parts[3], "-") {
		sensitivity, categories, _ := strings.Cut(level, ":")
		parts = append(parts, sensitivity, categoryList(categories))
	}
	return slices.Delete(parts, 3, 4)
}

// categoryList writes categories out one by one, in order. What is none is left as it is.
func categoryList(text string) string {
	var numbers []int
	for _, part := range strings.Split(text, ",") {
		first, last, isRange := strings.Cut(part, ".")
		if !isRange {
			last = first
		}
		from, err := category(first)
		to, err2 := category(last)
		if err != nil || err2 != nil {
			return text
		}
		for number := from; number <= to; number++ {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return fmt.Sprint(slices.Compact(numbers))
}

// category reads the number of a category, of which SELinux has 1,024.
func category(text string) (int, error) {
	digits, ok := strings.CutPrefix(text, "c")
	number, err := strconv.ParseUint(digits, 10, 10)
	if err == nil && !ok {
		err = strconv.ErrSyntax
	}
	return int(number), err
}
