package cluster

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/csi-dm/csi-dm/test/lab/node"
)

// logName is the first line of a log's connection: NODE/PROGRAM.
var logName = regexp.MustCompile(`^[a-z0-9-]+/[a-z0-9-]+$`)

// collectLogs accepts the nodes' logs on the lab's bridge and appends them to files below folder until ctx ends.
func collectLogs(ctx context.Context, folder string) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(gateway, strconv.Itoa(node.LogPort)))
	if err != nil {
		return err
	}
	go func() {
		stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
		defer stop()
		var connections sync.WaitGroup
		defer connections.Wait()
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Go(func() {
				end := context.AfterFunc(ctx, func() { _ = connection.Close() })
				defer end()
				defer connection.Close()
				collectLog(connection, folder)
			})
		}
	}()
	return nil
}

func collectLog(connection io.Reader, folder string) {
	reader := bufio.NewReader(connection)
	name, err := reader.ReadString('\n')
	name = strings.TrimSpace(name)
	if err != nil || !logName.MatchString(name) {
		return
	}
	file, err := os.OpenFile(filepath.Join(folder, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer file.Close()
	_, _ = io.Copy(file, reader)
}
