package grpcserver

import (
	"context"
	"path"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/kubernetes-csi/csi-lib-utils/protosanitizer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"
)

func interceptors(ctx context.Context, options Options) []grpc.UnaryServerInterceptor {
	list := []grpc.UnaryServerInterceptor{logging(klog.FromContext(ctx).WithValues("server", options.Name))}
	if options.Metrics != nil {
		list = append(list, options.Metrics.measure(options.Name))
	}
	// Innermost, so that the others see a panic as the error that it becomes.
	return append(list, recovering(options))
}

// logging gives each call's context a logger that carries the method, a call number and, where the request has one, the
// volume. Calls are logged at V(4), messages at V(5), failures that nobody can be blamed for but the driver always.
func logging(logger klog.Logger) grpc.UnaryServerInterceptor {
	var calls atomic.Int64
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		logger := logger.WithValues("method", path.Base(info.FullMethod), "call", calls.Add(1))
		if named, ok := request.(interface{ GetVolumeId() string }); ok && named.GetVolumeId() != "" {
			logger = logger.WithValues("volume", shortened(named.GetVolumeId()))
		}
		logger.V(5).Info("Call begins", "request", protosanitizer.StripSecrets(request))
		begin := time.Now()
		response, err := handler(klog.NewContext(ctx, logger), request)
		switch code := status.Code(err); code {
		case codes.OK:
			logger.V(4).Info("Call done", "duration", time.Since(begin))
			logger.V(5).Info("Call answered", "response", protosanitizer.StripSecrets(response))
		case codes.Internal, codes.Unknown, codes.DataLoss:
			logger.Error(err, "Call failed", "code", code, "duration", time.Since(begin))
		default:
			logger.V(4).Info("Call refused", "code", code, "err", err, "duration", time.Since(begin))
		}
		return response, err
	}
}

// shortened keeps a hostile volume id from filling the log.
func shortened(id string) string {
	const longest = 128
	if len(id) <= longest {
		return id
	}
	return id[:longest] + "…"
}

func (m *Metrics) measure(server string) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		begin := time.Now()
		response, err := handler(ctx, request)
		m.duration.WithLabelValues(server, path.Base(info.FullMethod), status.Code(err).String()).Observe(time.Since(begin).Seconds())
		return response, err
	}
}

// recovering turns a panic into an Internal error of that one call. A node's other volumes must not suffer because one
// request meets a bug: kubelet would repeat it, and the process would go down each time.
func recovering(options Options) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (_ any, err error) {
		defer func() {
			if cause := recover(); cause != nil {
				if options.Metrics != nil {
					options.Metrics.panics.WithLabelValues(options.Name, path.Base(info.FullMethod)).Inc()
				}
				klog.FromContext(ctx).Error(nil, "Panic", "cause", cause, "stack", string(debug.Stack()))
				err = status.Error(codes.Internal, "the driver panicked; its log has the details")
			}
		}()
		return handler(ctx, request)
	}
}
