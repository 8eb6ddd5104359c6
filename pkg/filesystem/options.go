package filesystem

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ErrMkfsOption says that an mkfs option is not on the list of those that are allowed.
var ErrMkfsOption = errors.New("mkfs option is not allowed")

// maximumOptionsLength bounds the text of mkfs options, in bytes.
const maximumOptionsLength = 256

// mkfsRule says what one option of mkfs may be. An option has either one value or sub-options, NAME=VALUE with commas.
type mkfsRule struct {
	value *regexp.Regexp
	sub   map[string]*regexp.Regexp
	list  bool // the value is a list of features, each of which matches value
	help  string
}

var (
	oneOf = func(values ...string) *regexp.Regexp {
		return regexp.MustCompile(`^(?:` + strings.Join(values, "|") + `)$`)
	}

	// mkfsRules are the options that make a difference to a tenant and none to the pool's promises. Everything that the
	// driver decides itself (block size, discards, UUID, label, size, features a kernel might not know) is not among them.
	mkfsRules = map[Type]map[string]mkfsRule{
		Ext4: {
			"-i": {value: oneOf("1024", "2048", "4096", "8192", "16384", "32768", "65536", "131072", "262144", "524288", "1048576", "4194304"), help: "-i BYTES-PER-INODE (a power of two from 1024 to 1048576, or 4194304)"},
			"-I": {value: oneOf("256", "512", "1024"), help: "-I 256|512|1024"},
			"-m": {value: oneOf("[0-9]", "[1-4][0-9]", "50"), help: "-m PERCENT (0 to 50)"},
			"-J": {value: oneOf("size=(?:[4-9]|[1-9][0-9]{1,3})"), help: "-J size=MIB (4 to 9999)"},
			"-O": {value: oneOf("project", `\^has_journal`), list: true, help: "-O project|^has_journal,…"},
		},
		XFS: {
			"-d": {sub: map[string]*regexp.Regexp{"agcount": oneOf("[1-9][0-9]{0,3}")}, help: "-d agcount=1…9999"},
			"-i": {sub: map[string]*regexp.Regexp{"size": oneOf("512", "1024", "2048"), "maxpct": oneOf("[0-9]", "[1-9][0-9]", "100")}, help: "-i size=512|1024|2048,maxpct=0…100"},
			"-l": {sub: map[string]*regexp.Regexp{"size": oneOf("[1-9][0-9]{1,3}m")}, help: "-l size=MIBm (10m to 9999m)"},
			"-m": {sub: map[string]*regexp.Regexp{"reflink": oneOf("0", "1"), "rmapbt": oneOf("0", "1"), "bigtime": oneOf("0", "1"), "inobtcount": oneOf("0", "1")}, help: "-m reflink|rmapbt|bigtime|inobtcount=0|1"},
			"-n": {sub: map[string]*regexp.Regexp{"size": oneOf("4096", "8192", "16384", "32768", "65536")}, help: "-n size=4096…65536"},
		},
	}
)

// mkfsChoice is what options ask for, taken apart.
type mkfsChoice struct {
	single   map[string]string            // option to value
	subs     map[string]map[string]string // option to sub-option to value
	features []string                     // sorted
}

func (c mkfsChoice) value(option, otherwise string) string {
	if v, ok := c.single[option]; ok {
		return v
	}
	return otherwise
}

func (c mkfsChoice) sub(option, name, otherwise string) string {
	if v, ok := c.subs[option][name]; ok {
		return v
	}
	return otherwise
}

// ParseMkfsOptions reads the mkfs options of a StorageClass: words separated by blanks, each option followed by its value
// ("-i 65536 -m 1" for ext4, "-i size=1024 -l size=64m" for xfs). Only options of a fixed list are accepted, each once. The
// result is in a canonical order, so that texts that mean the same give equal formats. Errors match ErrMkfsOption and name
// what is allowed.
func ParseMkfsOptions(t Type, text string) ([]string, error) {
	if len(text) > maximumOptionsLength {
		return nil, fmt.Errorf("%w: more than %d characters", ErrMkfsOption, maximumOptionsLength)
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' })
	chosen, err := parseMkfsWords(t, words)
	if err != nil {
		return nil, err
	}
	return chosen.words(), nil
}

func parseMkfsWords(t Type, words []string) (mkfsChoice, error) {
	rules, ok := mkfsRules[t]
	if !ok {
		_, err := ParseType(string(t))
		return mkfsChoice{}, err
	}
	chosen := mkfsChoice{single: map[string]string{}, subs: map[string]map[string]string{}}
	for len(words) > 0 {
		rule, known := rules[words[0]]
		if !known || len(words) < 2 {
			return mkfsChoice{}, notAllowed(t, words[0])
		}
		option, value := words[0], words[1]
		words = words[2:]
		if _, twice := chosen.single[option]; twice || len(chosen.subs[option]) > 0 || rule.list && len(chosen.features) > 0 {
			return mkfsChoice{}, fmt.Errorf("%w: %s is given twice", ErrMkfsOption, option)
		}
		if err := chosen.take(rule, option, value); err != nil {
			return mkfsChoice{}, notAllowed(t, option+" "+value)
		}
	}
	return chosen, nil
}

func (c *mkfsChoice) take(rule mkfsRule, option, value string) error {
	switch {
	case rule.list:
		for _, feature := range strings.Split(value, ",") {
			if !rule.value.MatchString(feature) {
				return ErrMkfsOption
			}
			c.features = append(c.features, feature)
		}
		slices.Sort(c.features)
		c.features = slices.Compact(c.features)
	case rule.sub != nil:
		c.subs[option] = map[string]string{}
		for _, part := range strings.Split(value, ",") {
			name, v, _ := strings.Cut(part, "=")
			pattern, known := rule.sub[name]
			_, twice := c.subs[option][name]
			if !known || twice || !pattern.MatchString(v) {
				return ErrMkfsOption
			}
			c.subs[option][name] = v
		}
	default:
		if !rule.value.MatchString(value) {
			return ErrMkfsOption
		}
		c.single[option] = value
	}
	return nil
}

// words puts the choice back into options and values, in order.
func (c mkfsChoice) words() []string {
	values := map[string]string{}
	for option, value := range c.single {
		values[option] = value
	}
	for option, subs := range c.subs {
		var parts []string
		for name, value := range subs {
			parts = append(parts, name+"="+value)
		}
		slices.Sort(parts)
		values[option] = strings.Join(parts, ",")
	}
	if len(c.features) > 0 {
		values["-O"] = strings.Join(c.features, ",")
	}
	var options []string
	for option := range values {
		options = append(options, option)
	}
	slices.Sort(options)
	var words []string
	for _, option := range options {
		words = append(words, option, values[option])
	}
	return words
}

func notAllowed(t Type, what string) error {
	var allowed []string
	for _, rule := range mkfsRules[t] {
		allowed = append(allowed, rule.help)
	}
	slices.Sort(allowed)
	return fmt.Errorf("%w: %q for %s; allowed are %s", ErrMkfsOption, what, t, strings.Join(allowed, "; "))
}
