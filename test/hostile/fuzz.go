package hostile

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Placeholder stands for the directory below which paths must be, in the bytes of a fuzzed request: the directory of a test has
// another name each time.
const Placeholder = "/placeholder"

// Seed adds, for each method, the good request and its mutations to a fuzz target whose arguments are the method's number and the
// request's bytes. Paths in the good request are below Placeholder.
func Seed(f *testing.F, methods []Method, good func(Method) proto.Message) {
	f.Helper()
	for number, method := range methods {
		request := good(method)
		if request == nil {
			f.Fatalf("%s has no good request", method.Name)
		}
		seeds := []proto.Message{request}
		for _, mutation := range Mutations(request, Placeholder) {
			seeds = append(seeds, mutation.Request)
		}
		for _, seed := range seeds {
			f.Add(uint8(number), Encode(f, seed))
		}
	}
}

// Decode makes a request of a method of bytes, as the driver's gRPC server does, with directory for Placeholder; nil if the server
// would not let it through.
func (m Method) Decode(text []byte, directory string) proto.Message {
	request := m.NewRequest()
	if err := proto.Unmarshal(text, request); err != nil {
		return nil
	}
	fields := request.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.Kind() != protoreflect.StringKind || field.Cardinality() == protoreflect.Repeated {
			continue
		}
		if below, found := strings.CutPrefix(request.ProtoReflect().Get(field).String(), Placeholder); found {
			request.ProtoReflect().Set(field, protoreflect.ValueOfString(directory+below))
		}
	}
	return request
}

// Encode gives a request's bytes.
func Encode(t testing.TB, request proto.Message) []byte {
	t.Helper()
	text, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
