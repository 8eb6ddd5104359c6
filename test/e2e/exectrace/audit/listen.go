package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bits of audit_status.mask: which fields a request sets.
const (
	statusEnabled = 0x01
	statusPID     = 0x04
	statusBacklog = 0x10
)

// backlog is how many records the kernel keeps for a listener that is slow.
const backlog = 8192

// status is struct audit_status.
type status struct {
	Mask, Enabled, Failure, PID, RateLimit, BacklogLimit, Lost, Backlog uint32
	Features, BacklogWaitTime, BacklogWaitTimeActual                    uint32
}

// rule is struct audit_rule_data without fields to compare.
type rule struct {
	Flags, Action, FieldCount            uint32
	Mask, Fields, Values, FieldOperators [64]uint32
	BufferLength                         uint32
}

const (
	filterExit   = 4
	actionAlways = 2
)

// Listener is the machine's audit daemon. It is for use by one goroutine.
type Listener struct {
	socket   int
	sequence uint32
	lostOnce uint32
}

// Listen makes the kernel report program executions to this process from now on. It needs CAP_AUDIT_CONTROL in the initial
// user and PID namespaces, and no other audit daemon.
func Listen() (*Listener, error) {
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_AUDIT)
	if err != nil {
		return nil, fmt.Errorf("open the audit socket: %w", err)
	}
	l := &Listener{socket: socket}
	if err := l.start(); err != nil {
		return nil, errors.Join(err, unix.Close(socket))
	}
	return l, nil
}

func (l *Listener) start() error {
	if err := unix.Bind(l.socket, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("bind the audit socket: %w", err)
	}
	if err := unix.SetsockoptTimeval(l.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000}); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(l.socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err != nil {
		return err
	}
	enable := status{Mask: statusEnabled | statusPID | statusBacklog, Enabled: 1, PID: uint32(os.Getpid()), BacklogLimit: backlog}
	if err := l.send(unix.AUDIT_SET, bytesOf(&enable)); err != nil {
		return fmt.Errorf("become the audit daemon: %w", err)
	}
	add := execRule()
	if err := l.send(unix.AUDIT_ADD_RULE, bytesOf(&add)); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add the rule on execve: %w", err)
	}
	lost, err := l.lost()
	l.lostOnce = lost
	return err
}

func execRule() rule {
	r := rule{Flags: filterExit, Action: actionAlways}
	for _, call := range []int{unix.SYS_EXECVE, unix.SYS_EXECVEAT} {
		r.Mask[call/32] |= 1 << (call % 32)
	}
	return r
}

// Run calls report for each program execution until ctx ends.
func (l *Listener) Run(ctx context.Context, report func(Exec) error) error {
	var records assembler
	buffer := make([]byte, 64<<10)
	for ctx.Err() == nil {
		kind, payload, err := l.receive(buffer)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if kind != recordSyscall && kind != recordExecve && kind != recordEndOfCall {
			continue
		}
		exec, complete, err := records.add(kind, string(payload))
		if err != nil {
			return err
		}
		if complete {
			if err := report(exec); err != nil {
				return err
			}
		}
	}
	return nil
}

// Lost is the number of records that the kernel dropped since Listen.
func (l *Listener) Lost() (uint32, error) {
	lost, err := l.lost()
	return lost - l.lostOnce, err
}

// Close takes the rule away and switches auditing off.
func (l *Listener) Close() error {
	remove := execRule()
	disable := status{Mask: statusEnabled | statusPID}
	return errors.Join(
		l.send(unix.AUDIT_DEL_RULE, bytesOf(&remove)), l.send(unix.AUDIT_SET, bytesOf(&disable)), unix.Close(l.socket))
}

func (l *Listener) lost() (uint32, error) {
	if err := l.send(unix.AUDIT_GET, nil); err != nil {
		return 0, fmt.Errorf("ask for the audit status: %w", err)
	}
	// The answer follows the acknowledgement or came before it among the records.
	buffer := make([]byte, 64<<10)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		kind, payload, err := l.receive(buffer)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if kind == unix.AUDIT_GET && len(payload) >= 28 {
			return binary.NativeEndian.Uint32(payload[24:]), nil
		}
	}
	return 0, errors.New("the kernel did not answer with its audit status")
}

// send sends a request and waits for its acknowledgement.
func (l *Listener) send(kind uint16, payload []byte) error {
	l.sequence++
	message := make([]byte, unix.SizeofNlMsghdr+len(payload))
	header := (*unix.NlMsghdr)(unsafe.Pointer(&message[0]))
	header.Len, header.Type, header.Flags, header.Seq = uint32(len(message)), kind, unix.NLM_F_REQUEST|unix.NLM_F_ACK, l.sequence
	copy(message[unix.SizeofNlMsghdr:], payload)
	if err := unix.Sendto(l.socket, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	if kind == unix.AUDIT_GET {
		return nil
	}
	buffer := make([]byte, 64<<10)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		answer, body, err := l.receive(buffer)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if answer == unix.NLMSG_ERROR && len(body) >= 4+unix.SizeofNlMsghdr && binary.NativeEndian.Uint32(body[12:]) == l.sequence {
			if errno := int32(binary.NativeEndian.Uint32(body)); errno != 0 {
				return unix.Errno(-errno)
			}
			return nil
		}
	}
	return errors.New("the kernel did not acknowledge the request")
}

// receive reads one message. The kernel writes one to a datagram, and the length in the header of a record does not count the
// header.
func (l *Listener) receive(buffer []byte) (uint16, []byte, error) {
	n, _, err := unix.Recvfrom(l.socket, buffer, 0)
	if err != nil {
		return 0, nil, err
	}
	if n < unix.SizeofNlMsghdr {
		return 0, nil, fmt.Errorf("audit message of %d bytes", n)
	}
	header := (*unix.NlMsghdr)(unsafe.Pointer(&buffer[0]))
	return header.Type, buffer[unix.SizeofNlMsghdr:n], nil
}

func bytesOf[T any](value *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(value)), unsafe.Sizeof(*value))
}
