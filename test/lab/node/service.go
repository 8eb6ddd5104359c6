package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// restartPause is how long a service that ended is left alone.
const restartPause = time.Second

// services runs programs and starts them again when they end, as systemd does on other nodes.
type services struct {
	config  Config
	running sync.WaitGroup
}

// start starts a program and keeps it running until ctx ends.
func (s *services) start(ctx context.Context, program string, arguments ...string) {
	s.running.Go(func() {
		for ctx.Err() == nil {
			if err := s.run(ctx, program, arguments); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", arguments[0], err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(restartPause):
			}
		}
	})
}

// run runs the program once. Its standard output and error are a connection to the supervisor.
func (s *services) run(ctx context.Context, program string, arguments []string) error {
	log, err := openLog(ctx, s.config, arguments[0])
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.CommandContext(ctx, program)
	command.Args = arguments
	command.Stdout, command.Stderr = log, log
	return command.Run()
}

// openLog connects to the supervisor, which appends what it reads to the log of that name.
func openLog(ctx context.Context, config Config, name string) (*os.File, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(config.Gateway, strconv.Itoa(LogPort)))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	if _, err := fmt.Fprintf(connection, "%s/%s\n", config.Name, name); err != nil {
		return nil, err
	}
	// A file, so that the program writes to the connection without anybody in between.
	file, err := connection.(*net.TCPConn).File()
	if err != nil {
		return nil, err
	}
	// The copy is in Go's non-blocking mode, which programs do not expect of their standard output.
	return file, setBlocking(file)
}
