package hostile

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Kind is what is wrong with a mutated field.
type Kind string

const (
	// Identifier is a handle of a volume, snapshot, group or node that cannot be one.
	Identifier Kind = "identifier"
	// Path is one that is not below the directory, or not clean.
	Path Kind = "path"
	// Name is one that the specification does not let a caller choose.
	Name Kind = "name"
	// Text is a value for which the driver has a list of what is allowed.
	Text Kind = "text"
	// Key is an unknown key of a map.
	Key Kind = "key"
	// Token is a page that was never given out.
	Token Kind = "token"
	// Number is a negative one, or one that an enumeration does not have.
	Number Kind = "number"
	// Missing is a message that was there.
	Missing Kind = "missing"
)

// Mutation is a request with one bad field.
type Mutation struct {
	Kind Kind
	// Field is its path from the request, with the specification's names: volume_capability.mount.fs_type.
	Field string
	// Value is what is in it, cut short.
	Value   string
	Request proto.Message
}

func (m Mutation) String() string { return fmt.Sprintf("%s %s", m.Field, m.Value) }

// NamesField tells whether a message names the mutated field, or, where the driver takes a message for one thing, the one around it.
func (m Mutation) NamesField(message string) bool {
	parts := strings.Split(m.Field, ".")
	for i := len(parts) - 1; i >= max(0, len(parts)-2); i-- {
		name, key, isMap := strings.Cut(parts[i], "[")
		if strings.Contains(message, strings.TrimSuffix(name, "[0]")) || isMap && strings.Contains(message, strings.TrimSuffix(key, "]")) {
			return true
		}
	}
	return false
}

// ignored are fields that the driver does not read: it needs no secrets, and no controller publishes its volumes.
var ignored = map[protoreflect.Name]bool{"secrets": true, "publish_context": true}

// Mutations gives the bad requests that are one field away from a good one. Paths are bad that are not below directory.
func Mutations(good proto.Message, directory string) []Mutation {
	w := &walker{good: good, directory: directory}
	w.walk(good.ProtoReflect(), "", func(root protoreflect.Message) protoreflect.Message { return root })
	return w.found
}

type walker struct {
	good      proto.Message
	directory string
	found     []Mutation
}

// reach finds, in a copy of the good request, the message that a walk is in.
type reach func(root protoreflect.Message) protoreflect.Message

// add makes a mutation by a change of the message that at leads to.
func (w *walker) add(kind Kind, field string, value any, at reach, change func(protoreflect.Message)) {
	request := proto.Clone(w.good)
	change(at(request.ProtoReflect()))
	const longest = 40
	text := fmt.Sprintf("%q", fmt.Sprint(value))
	if len(text) > longest {
		text = text[:longest] + "…"
	}
	w.found = append(w.found, Mutation{Kind: kind, Field: field, Value: text, Request: request})
}

func (w *walker) walk(m protoreflect.Message, prefix string, at reach) {
	for i := range m.Descriptor().Fields().Len() {
		field := m.Descriptor().Fields().Get(i)
		if name := prefix + string(field.Name()); !ignored[field.Name()] {
			switch {
			case field.IsMap():
				w.mapField(m, field, name, at)
			case field.IsList():
				w.listField(m, field, name, at)
			case field.Message() != nil:
				w.messageField(m, field, name, at)
			default:
				w.scalar(m, field, name, at)
			}
		}
	}
}

func (w *walker) messageField(m protoreflect.Message, field protoreflect.FieldDescriptor, name string, at reach) {
	if !m.Has(field) {
		return
	}
	w.add(Missing, name, "missing", at, func(m protoreflect.Message) { m.Clear(field) })
	w.walk(m.Get(field).Message(), name+".", func(root protoreflect.Message) protoreflect.Message {
		return at(root).Mutable(field).Message()
	})
}

func (w *walker) listField(m protoreflect.Message, field protoreflect.FieldDescriptor, name string, at reach) {
	if field.Message() == nil {
		for _, value := range w.values(field, "") {
			w.add(kindOf(field), name, value, at, func(m protoreflect.Message) {
				m.Mutable(field).List().Append(protoreflect.ValueOfString(value))
			})
		}
		return
	}
	if m.Get(field).List().Len() == 0 {
		return
	}
	w.add(Missing, name, "missing", at, func(m protoreflect.Message) { m.Clear(field) })
	w.walk(m.Get(field).List().Get(0).Message(), name+"[0].", func(root protoreflect.Message) protoreflect.Message {
		return at(root).Mutable(field).List().Get(0).Message()
	})
}

func (w *walker) mapField(m protoreflect.Message, field protoreflect.FieldDescriptor, name string, at reach) {
	set := func(kind Kind, key, value string) {
		w.add(kind, name+"["+key+"]", value, at, func(m protoreflect.Message) {
			m.Mutable(field).Map().Set(protoreflect.ValueOfString(key).MapKey(), protoreflect.ValueOfString(value))
		})
	}
	for _, key := range []string{"csi-dm.io/colour", "colour", "--help"} {
		set(Key, key, "blue")
	}
	m.Get(field).Map().Range(func(key protoreflect.MapKey, _ protoreflect.Value) bool {
		for _, value := range texts {
			set(Text, key.String(), value)
		}
		return true
	})
}

func (w *walker) scalar(m protoreflect.Message, field protoreflect.FieldDescriptor, name string, at reach) {
	switch field.Kind() {
	case protoreflect.StringKind:
		for _, value := range w.values(field, m.Get(field).String()) {
			w.add(kindOf(field), name, value, at, func(m protoreflect.Message) { m.Set(field, protoreflect.ValueOfString(value)) })
		}
	case protoreflect.EnumKind:
		w.add(Number, name, 99, at, func(m protoreflect.Message) { m.Set(field, protoreflect.ValueOfEnum(99)) })
	case protoreflect.Int32Kind:
		w.add(Number, name, -1, at, func(m protoreflect.Message) { m.Set(field, protoreflect.ValueOfInt32(-1)) })
	case protoreflect.Int64Kind:
		w.add(Number, name, -1, at, func(m protoreflect.Message) { m.Set(field, protoreflect.ValueOfInt64(-1)) })
	}
}
