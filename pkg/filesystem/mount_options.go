package filesystem

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrMountOption reports a mount option that is not on the list of those that are allowed.
var ErrMountOption = errors.New("mount option is not allowed")

// MountOptions are mount options that ParseMountOptions accepted. The zero value is none.
type MountOptions struct {
	attributes int // MOUNT_ATTR_*, those of the mount
	parameters []mountParameter
	grow       bool
	rootMode   RootMode
}

// Growing gives the options for a mount whose file system is grown to the size of its device before anybody sees it. A process
// that dies meanwhile leaves nothing mounted.
func (o MountOptions) Growing() MountOptions {
	o.grow = true
	return o
}

// mountParameter is an option of the file system. One without a value is a flag.
type mountParameter struct{ key, value string }

// The options that set an attribute of the mount. MOUNT_ATTR__ATIME is a field: the last one counts.
var attributeOptions = map[string]struct{ set, clear int }{
	"ro":          {set: unix.MOUNT_ATTR_RDONLY},
	"rw":          {clear: unix.MOUNT_ATTR_RDONLY},
	"nosuid":      {set: unix.MOUNT_ATTR_NOSUID},
	"suid":        {clear: unix.MOUNT_ATTR_NOSUID},
	"nodev":       {set: unix.MOUNT_ATTR_NODEV},
	"dev":         {clear: unix.MOUNT_ATTR_NODEV},
	"noexec":      {set: unix.MOUNT_ATTR_NOEXEC},
	"exec":        {clear: unix.MOUNT_ATTR_NOEXEC},
	"nodiratime":  {set: unix.MOUNT_ATTR_NODIRATIME},
	"diratime":    {clear: unix.MOUNT_ATTR_NODIRATIME},
	"noatime":     {set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME},
	"strictatime": {set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME},
	"relatime":    {set: unix.MOUNT_ATTR_RELATIME, clear: unix.MOUNT_ATTR__ATIME},
	"defaults":    {},
}

var number = regexp.MustCompile(`^(0|[1-9][0-9]{0,9})$`)

// parameterOptions are the options of the file systems that a user may set; nil is a flag. What could harm others than the
// volume's owner is missing (errors=panic), as is what gives up the promise that a write which was synced is there after a
// power cut (nobarrier, norecovery), and init_itable, which would write hundreds of MiB into every new volume.
var parameterOptions = map[Type]map[string]*regexp.Regexp{
	Ext4: {
		"discard": nil, "nodiscard": nil, "acl": nil, "user_xattr": nil,
		"delalloc": nil, "nodelalloc": nil, "auto_da_alloc": nil, "noauto_da_alloc": nil, "journal_checksum": nil,
		"dioread_lock": nil, "dioread_nolock": nil, "block_validity": nil, "noblock_validity": nil, "noinit_itable": nil,
		"grpid": nil, "nogrpid": nil,
		"commit": number, "stripe": number, "min_batch_time": number, "max_batch_time": number, "max_dir_size_kb": number,
		"inode_readahead_blks": number, "resuid": number, "resgid": number,
		"data":           oneOf("ordered", "writeback", "journal"),
		"errors":         oneOf("remount-ro", "continue"),
		"journal_ioprio": oneOf("[0-7]"),
	},
	XFS: {
		"discard": nil, "nodiscard": nil, "inode32": nil, "inode64": nil, "largeio": nil, "nolargeio": nil, "swalloc": nil,
		"noalign": nil, "filestreams": nil, "wsync": nil, "nouuid": nil, "grpid": nil, "nogrpid": nil,
		"usrquota": nil, "grpquota": nil, "prjquota": nil,
		"logbufs":   oneOf("[2-8]"),
		"logbsize":  oneOf("32k", "64k", "128k", "256k", "32768", "65536", "131072", "262144"),
		"allocsize": oneOf("[1-9][0-9]{0,9}[kmg]?"),
	},
}

// commonOptions are those of every file system. A value is a security label: user:role:type and, with SELinux's levels,
// the only option in which a comma has a place ("s0:c15,c25"), between two categories and nowhere else.
var commonOptions = map[string]*regexp.Regexp{
	"sync": nil, "dirsync": nil, "lazytime": nil,
	"context": label, "fscontext": label, "defcontext": label, "rootcontext": label,
}

var label = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}:[A-Za-z0-9_.-]{1,64}:[A-Za-z0-9_.-]{1,64}(:` + level + `(-` + level + `)?)?$`)

// level is a sensitivity and, possibly, categories: single ones and ranges (c1.c3).
const level = `s[0-9]{1,2}(:c[0-9]{1,4}([.,]c[0-9]{1,4}){0,63})?`

// ParseMountOptions checks mount options, each an element of its own, against the list of what is allowed. An element that
// brings others along by commas is refused. Errors match ErrMountOption and name what is allowed.
func ParseMountOptions(t Type, options []string) (MountOptions, error) {
	if _, err := ParseType(string(t)); err != nil {
		return MountOptions{}, err
	}
	const most = 64
	if len(options) > most {
		return MountOptions{}, fmt.Errorf("%w: %d options, at most %d are possible", ErrMountOption, len(options), most)
	}
	var parsed MountOptions
	for _, option := range options {
		if attribute, ok := attributeOptions[option]; ok {
			parsed.attributes = parsed.attributes&^attribute.clear | attribute.set
			continue
		}
		parameter, err := parseParameter(t, option)
		if err != nil {
			return MountOptions{}, err
		}
		parsed.parameters = append(parsed.parameters, parameter)
	}
	return parsed, nil
}

func parseParameter(t Type, option string) (mountParameter, error) {
	key, value, hasValue := strings.Cut(option, "=")
	pattern, known := commonOptions[key]
	if !known {
		pattern, known = parameterOptions[t][key]
	}
	if pattern == label {
		// kubelet quotes the label for mount(8); the kernel takes it as it is.
		if unquoted, ok := strings.CutPrefix(value, `"`); ok {
			value, hasValue = strings.CutSuffix(unquoted, `"`)
		}
	}
	if !known || hasValue != (pattern != nil) || hasValue && !pattern.MatchString(value) {
		return mountParameter{}, mountOptionNotAllowed(t, option)
	}
	return mountParameter{key: key, value: value}, nil
}

func mountOptionNotAllowed(t Type, option string) error {
	const longest = 64
	if len(option) > longest {
		option = option[:longest] + "…"
	}
	allowed := slices.Collect(maps.Keys(attributeOptions))
	for _, options := range []map[string]*regexp.Regexp{commonOptions, parameterOptions[t]} {
		for key, value := range options {
			if value != nil {
				key += "="
			}
			allowed = append(allowed, key)
		}
	}
	slices.Sort(allowed)
	return fmt.Errorf("%w: %q for %s; allowed are %s", ErrMountOption, option, t, strings.Join(allowed, " "))
}
