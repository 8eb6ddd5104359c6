package hostile

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// long is 10 kB of what is allowed by itself.
var long = strings.Repeat("a", 10<<10)

// texts are bad values of fields for which the driver has a list of what is allowed.
var texts = []string{"../x", "a,b", "a\n", "a\x00", "-a", "--help", "ext4 -F", "$(reboot)", "\u202e1-cvp", long}

// kindOf tells by a text field's name what belongs into it.
func kindOf(field protoreflect.FieldDescriptor) Kind {
	switch name := string(field.Name()); {
	case strings.HasSuffix(name, "_id"), strings.HasSuffix(name, "_ids"):
		return Identifier
	case strings.HasSuffix(name, "_path"):
		return Path
	case strings.HasSuffix(name, "_token"):
		return Token
	case name == "name":
		return Name
	}
	return Text
}

// values are those that do not belong into a text field; good is one that does, or empty.
func (w *walker) values(field protoreflect.FieldDescriptor, good string) []string {
	switch kindOf(field) {
	case Identifier:
		return []string{
			"", ".", "..", "../" + good + "x", good + "/../y", good + ",ro", good + "\n", "a" + good + "\x00", "-" + good, "--help", "A " + good,
			"$(reboot)", "x;reboot", long,
		}
	case Path:
		return []string{
			"", "/", "/etc", "relative", "-x", w.directory, w.directory + "/", w.directory + "/../etc", w.directory + "/x/../../etc", w.directory + "/./x",
			w.directory + "x/y", w.directory + "/x\x00", w.directory + strings.Repeat("/a", 10<<10), w.directory + "/" + long[:256], "/proc/self/root" + w.directory + "/x",
		}
	case Token:
		return []string{"../x", "a\n", "a\x00", "-1", "99999999999999999999", long}
	case Name:
		return []string{"", "a\n", "a\x00", "\x7f", long}
	}
	return texts
}
