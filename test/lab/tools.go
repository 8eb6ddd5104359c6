package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/csi-dm/csi-dm/test/lab/toolchain"
)

// Tool returns the path of one of the lab's programs for people and tests: kubectl, helm or csi-sanity. They are of the lab's
// version, whatever the machine has.
func (l *Lab) Tool(name string) string { return filepath.Join(l.paths.Tools(), name) }

// Command returns a command that runs one of the lab's tools against the lab's cluster:
//
//	output, err := l.Command(ctx, "kubectl", "get", "nodes").CombinedOutput()
//	output, err := l.Command(ctx, "helm", "install", …).CombinedOutput()
func (l *Lab) Command(ctx context.Context, tool string, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, l.Tool(tool), arguments...)
	command.Env = l.Environment()
	return command
}

// Environment is the process' environment with KUBECONFIG, and PATH leading to the lab's tools first.
func (l *Lab) Environment() []string {
	return append(os.Environ(), "KUBECONFIG="+l.Kubeconfig(), "PATH="+l.paths.Tools()+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// InstallSnapshotCRDs gives the cluster the VolumeSnapshot kinds and those of group snapshots.
func (l *Lab) InstallSnapshotCRDs(ctx context.Context) error {
	folder, err := toolchain.SnapshotCRDs(ctx)
	if err != nil {
		return err
	}
	if output, err := l.Command(ctx, "kubectl", "apply", "--server-side", "--kustomize", folder).CombinedOutput(); err != nil {
		return fmt.Errorf("install the snapshot CRDs: %w: %s", err, output)
	}
	return nil
}
