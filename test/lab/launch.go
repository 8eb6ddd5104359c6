package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/csi-dm/csi-dm/test/lab/cluster"
)

// launch starts the lab's first process in namespaces of its own and passes its reports on until the lab is up.
func launch(ctx context.Context, paths Paths, config cluster.Config, report func(string)) error {
	if err := os.MkdirAll(paths.Logs(), 0o755); err != nil {
		return err
	}
	configFile := filepath.Join(paths.Run, "config.json")
	if err := cluster.WriteConfig(configFile, config); err != nil {
		return err
	}
	listener, err := loopbackListener()
	if err != nil {
		return err
	}
	defer listener.Close()
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reader.Close()
	defer writer.Close()
	log, err := os.Create(filepath.Join(paths.Logs(), "supervisor.log"))
	if err != nil {
		return err
	}
	defer log.Close()

	// Not bound to ctx: the lab outlives this process. A failure below is followed by stop.
	command := exec.Command(config.Programs.Lab, "init", configFile)
	command.Dir = "/"
	command.Stdout, command.Stderr = log, log
	command.ExtraFiles = []*os.File{listener, writer}
	command.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("start the lab in namespaces of its own: %w", err)
	}
	if err := recordProcess(paths, command.Process.Pid); err != nil {
		return errors.Join(err, command.Process.Kill())
	}
	_ = writer.Close() // so that the reports end with the lab's last process

	stopReading := context.AfterFunc(ctx, func() { _ = reader.Close() })
	defer stopReading()
	return follow(ctx, reader, log.Name(), report)
}

// follow passes reports on until one says how it ended.
func follow(ctx context.Context, reports *os.File, log string, report func(string)) error {
	decoder := json.NewDecoder(reports)
	for {
		var message cluster.Report
		err := decoder.Decode(&message)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("the lab ended while it came up (see %s): %s", log, lastLine(log))
		case message.Error != "":
			return fmt.Errorf("the lab did not come up (logs are in %s): %s", filepath.Dir(log), message.Error)
		case message.Up:
			return nil
		default:
			report(message.Line)
		}
	}
}

func loopbackListener() (*os.File, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	return listener.(*net.TCPListener).File()
}

func lastLine(file string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return lines[len(lines)-1]
}
