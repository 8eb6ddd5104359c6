package uml

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"time"
)

// ErrManagement reports a management command that the guest's kernel refused; the text is the kernel's.
var ErrManagement = errors.New("guest refused")

// The kernel's management console: datagrams over a socket (arch/um/drivers/mconsole.h).
const (
	managementMagic   = 0xcafebabe
	managementVersion = 2
	managementData    = 512 // bytes
)

type managementRequest struct {
	Magic, Version, Length uint32
	Data                   [managementData]byte
}

type managementReply struct {
	Failed, More, Length uint32
	Data                 [managementData]byte
}

var managementClients atomic.Uint64

// Manage gives a command to the guest's kernel, which obeys even if nothing in the guest runs any more, and returns its
// answer: "version", "sysrq w" (stacks of blocked tasks, on the console), "stop" and "go" (freeze and continue the whole
// guest), "cad" (Ctrl-Alt-Del, a SIGINT for process 1), "config ubd0". The kernel's document
// virt/uml/user_mode_linux_howto_v2 has them all. ("sysrq t" crashes a 6.1 kernel.) There are some seconds after Start before the kernel listens; a context
// without deadline is given one of five seconds.
func (g *Guest) Manage(ctx context.Context, command string) (string, error) {
	if len(command) >= managementData {
		return "", fmt.Errorf("%w: command has %d bytes, at most %d are allowed", ErrManagement, len(command), managementData-1)
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(5 * time.Second)
	}
	// An address in the abstract namespace, since the kernel sends its answer to one.
	local := fmt.Sprintf("@csi-dm-uml-%d-%d", g.Pid(), managementClients.Add(1))
	remote := filepath.Join(g.machine.Directory, g.machine.Name, "mconsole")
	connection, err := net.DialUnix("unixgram", &net.UnixAddr{Net: "unixgram", Name: local}, &net.UnixAddr{Net: "unixgram", Name: remote})
	if err != nil {
		return "", err
	}
	defer connection.Close()
	if err := connection.SetDeadline(deadline); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = connection.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	request := managementRequest{Magic: managementMagic, Version: managementVersion, Length: uint32(len(command))}
	copy(request.Data[:], command)
	var datagram bytes.Buffer
	_ = binary.Write(&datagram, binary.NativeEndian, &request) // a buffer and a fixed-size struct cannot fail
	if _, err := connection.Write(datagram.Bytes()); err != nil {
		return "", err
	}
	return readReply(connection)
}

// readReply puts together an answer that comes in one or more datagrams.
func readReply(connection *net.UnixConn) (string, error) {
	var text bytes.Buffer
	for {
		datagram := make([]byte, binary.Size(managementReply{}))
		n, err := connection.Read(datagram)
		if err != nil {
			return "", err
		}
		var reply managementReply
		header := binary.Size(reply) - managementData
		if n < header {
			return "", fmt.Errorf("%w: answer of %d bytes, at least %d were expected", ErrManagement, n, header)
		}
		_ = binary.Read(bytes.NewReader(datagram), binary.NativeEndian, &reply) // the buffer has the struct's size
		text.Write(reply.Data[:min(int(reply.Length), n-header)])
		if reply.Failed != 0 {
			return "", fmt.Errorf("%w: %s", ErrManagement, bytes.TrimRight(text.Bytes(), "\x00\n"))
		}
		if reply.More == 0 {
			return string(bytes.TrimRight(text.Bytes(), "\x00")), nil
		}
	}
}
