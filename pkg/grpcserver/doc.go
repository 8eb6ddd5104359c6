// Package grpcserver serves gRPC on a unix socket, the way every CSI service of csi-dm is served:
//
//	server, err := grpcserver.Listen(ctx, grpcserver.Options{
//		Name:     "csi",
//		Endpoint: "unix:///csi/csi.sock",
//		Register: func(registrar grpc.ServiceRegistrar) { csi.RegisterIdentityServer(registrar, identity) },
//	})
//	…
//	err = server.Serve(ctx) // until ctx ends, then gracefully
//
// A client can connect as soon as [Listen] has returned. The socket appears under its name in one step, already able to
// answer, and replaces one that a process before left behind (package unixsocket). Each call is logged with its secrets
// taken out, counted, and kept from taking the process down (interceptors.go).
package grpcserver
