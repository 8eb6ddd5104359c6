package cluster

import (
	"context"
	"io"
	"net"
	"sync"
)

// forward accepts connections, made on the host's loopback, and connects each to an address in the lab, until ctx ends.
func forward(ctx context.Context, listener net.Listener, target string) {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		outside, err := listener.Accept()
		if err != nil {
			return
		}
		connections.Go(func() {
			defer outside.Close()
			inside, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
			if err != nil {
				return
			}
			defer inside.Close()
			end := context.AfterFunc(ctx, func() { _ = outside.Close(); _ = inside.Close() })
			defer end()
			splice(outside.(*net.TCPConn), inside.(*net.TCPConn))
		})
	}
}

// splice copies both ways until both sides have ended, and passes the end of one side on.
func splice(a, b *net.TCPConn) {
	var copies sync.WaitGroup
	one := func(to, from *net.TCPConn) {
		_, _ = io.Copy(to, from)
		_ = to.CloseWrite()
	}
	copies.Go(func() { one(a, b) })
	copies.Go(func() { one(b, a) })
	copies.Wait()
}
