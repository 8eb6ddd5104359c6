package hostile

import (
	"context"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Method is a call of a CSI service.
type Method struct {
	// Name without the service's: NodeStageVolume. Names are unique among all services.
	Name              string
	path              string
	request, response protoreflect.MessageType
}

// Methods are the calls of the named services: Identity, Controller, GroupController, Node. Those that answer with a stream are
// left out; the driver has none.
func Methods(services ...string) ([]Method, error) {
	var methods []Method
	for _, name := range services {
		service := csi.File_csi_proto.Services().ByName(protoreflect.Name(name))
		if service == nil {
			return nil, fmt.Errorf("the CSI specification has no service %s", name)
		}
		for i := range service.Methods().Len() {
			descriptor := service.Methods().Get(i)
			if descriptor.IsStreamingServer() || descriptor.IsStreamingClient() {
				continue
			}
			request, err := protoregistry.GlobalTypes.FindMessageByName(descriptor.Input().FullName())
			if err != nil {
				return nil, err
			}
			response, err := protoregistry.GlobalTypes.FindMessageByName(descriptor.Output().FullName())
			if err != nil {
				return nil, err
			}
			methods = append(methods, Method{
				Name: string(descriptor.Name()), path: fmt.Sprintf("/%s/%s", service.FullName(), descriptor.Name()), request: request, response: response,
			})
		}
	}
	return methods, nil
}

// NewRequest is an empty request of the call.
func (m Method) NewRequest() proto.Message { return m.request.New().Interface() }

// Call sends a request to the service behind a connection.
func (m Method) Call(ctx context.Context, connection grpc.ClientConnInterface, request proto.Message) (proto.Message, error) {
	response := m.response.New().Interface()
	if err := connection.Invoke(ctx, m.path, request, response); err != nil {
		return nil, err
	}
	return response, nil
}
