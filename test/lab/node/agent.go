package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/csi-dm/csi-dm/test/lab/control"
	"github.com/csi-dm/csi-dm/test/uml/guest"
)

// The agent's requests.
const (
	// ExecPath takes a control.ExecRequest and answers with a control.ExecResult once the command ended.
	ExecPath = "/exec"
	// BootPath answers with the kernel's boot id; the agent listens once containerd does.
	BootPath = "/boot"
	// KubeletPath starts kubelet and kube-proxy, once.
	KubeletPath = "/kubelet"
	// OffPath flushes the disks and turns the node off. There is no answer.
	OffPath = "/off"
)

// serveAgent serves requests of the lab's supervisor until ctx ends.
func serveAgent(ctx context.Context, config Config, services *services) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(config.Address, strconv.Itoa(AgentPort)))
	if err != nil {
		return err
	}
	var started sync.Once
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+ExecPath, handleExec)
	mux.HandleFunc("GET "+BootPath, handleBoot)
	mux.HandleFunc("POST "+KubeletPath, func(http.ResponseWriter, *http.Request) {
		started.Do(func() {
			services.start(ctx, HostPath(config.Kubernetes), kubeletArguments(config)...)
			services.start(ctx, HostPath(config.Kubernetes), "kube-proxy", "--config="+proxyConfig)
		})
	})
	mux.HandleFunc("POST "+OffPath, func(http.ResponseWriter, *http.Request) { guest.PowerOff() })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func handleBoot(writer http.ResponseWriter, _ *http.Request) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		http.Error(writer, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = writer.Write(bytes.TrimSpace(id))
}

func handleExec(writer http.ResponseWriter, request *http.Request) {
	var body control.ExecRequest
	if err := json.NewDecoder(request.Body).Decode(&body); err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	if len(body.Argv) == 0 {
		http.Error(writer, "argv is empty", http.StatusBadRequest)
		return
	}
	result, err := execute(request.Context(), body)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	_ = json.NewEncoder(writer).Encode(result)
}

// execute runs a command in a process group of its own, which is killed when ctx ends.
func execute(ctx context.Context, request control.ExecRequest) (control.ExecResult, error) {
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, request.Argv[0], request.Argv[1:]...)
	command.Dir = "/root"
	command.Env = append(os.Environ(), request.Environment...)
	command.Stdin = bytes.NewReader(request.Stdin)
	command.Stdout, command.Stderr = &stdout, &stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	// A daemon that the command left behind may hold its output open.
	command.WaitDelay = 2 * time.Second
	err := command.Run()
	result := control.ExecResult{Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return result, context.Cause(ctx)
	case errors.As(err, &exit):
		result.ExitStatus = exitStatus(exit.ProcessState)
		return result, nil
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return result, fmt.Errorf("%s: %w", strings.Join(request.Argv, " "), err)
	default:
		return result, nil
	}
}

func exitStatus(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
