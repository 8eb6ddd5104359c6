//go:build kernel

package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/pkg/confinedpath"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	nodecsi "github.com/csi-dm/csi-dm/pkg/node/csi"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/e2e/exectrace/audit"
)

// execTrace has the kernel's audit report every program that is executed on the machine.
type execTrace struct {
	t       testing.TB
	execs   chan audit.Exec
	markers int
}

// markerPatience is how long the kernel may take to report an execution.
const markerPatience = 10 * time.Second

func startExecTrace(ctx context.Context, t testing.TB) *execTrace {
	t.Helper()
	listener, err := audit.Listen()
	must(t, err)
	trace := &execTrace{t: t, execs: make(chan audit.Exec, 1<<16)}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- listener.Run(ctx, func(e audit.Exec) error { trace.execs <- e; return nil })
	}()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
		lost, err := listener.Lost()
		must(t, err)
		must(t, listener.Close())
		if lost > 0 {
			t.Fatalf("the kernel lost %d audit records: the count is worth nothing", lost)
		}
	})
	trace.during(func() {}) // what came before
	return trace
}

// during returns the programs that were executed while do ran. Reports come in order, so once that of a program which is
// started behind do has come, those of do have.
func (trace *execTrace) during(do func()) []string {
	trace.t.Helper()
	do()
	trace.markers++
	marker := fmt.Sprintf("marker-%d", trace.markers)
	if output, err := exec.Command("/bin/true", marker).CombinedOutput(); err != nil {
		trace.t.Fatalf("/bin/true: %v: %s", err, output)
	}
	var programs []string
	for deadline := time.After(markerPatience); ; {
		select {
		case e := <-trace.execs:
			if slices.Contains(e.Arguments, marker) {
				return programs
			}
			programs = append(programs, filepath.Base(e.Executable))
		case <-deadline:
			trace.t.Fatalf("the kernel did not report %s within %s", marker, markerPatience)
		}
	}
}

// countExecs counts the programs that are executed for a volume, through the CSI node service. The first volume of a size
// has its base made, which takes mkfs: a trace that does not show it shows nothing.
func countExecs(ctx context.Context, t testing.TB, e *engine, judged *verdicts) *table {
	t.Helper()
	directory := t.TempDir()
	kubelet, err := confinedpath.OpenRoot(directory)
	must(t, err)
	defer kubelet.Close()
	set := pools.NewSet(func(context.Context, thinpool.Config) (pools.Pool, error) { return e.pool, nil })
	_, _, err = set.Open(ctx, thinpool.Config{Name: poolName})
	must(t, err)
	node, err := nodecsi.New(ctx, nodecsi.Config{NodeName: "bench", Pools: set, Kubelet: kubelet})
	must(t, err)
	trace := startExecTrace(ctx, t)

	result := newTable("file system", "first create of a size", "create", "stage", "unstage", "delete")
	for _, fsType := range filesystem.Types {
		size := int64(volumeSize + 1<<30)
		wanted := thinpool.VolumeSpec{Name: "execs-first-" + string(fsType), Size: size, Format: filesystem.Format{Type: fsType}}
		create := func() {
			_, err := e.pool.CreateVolume(ctx, wanted)
			must(t, err)
		}
		remove := func() { must(t, e.pool.DeleteVolume(ctx, wanted.Name)) }
		first := trace.during(create)
		if !slices.Contains(first, "mkfs."+string(fsType)) && !slices.Contains(first, "mke2fs") {
			t.Fatalf("a base of %s was made and the trace shows no mkfs but %q", fsType, first)
		}
		remove()
		wanted.Name = "execs-" + string(fsType)
		staging := filepath.Join(directory, wanted.Name)
		must(t, os.Mkdir(staging, 0o700))
		created := trace.during(create)
		staged := trace.during(func() {
			_, err := node.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{
				VolumeId: wanted.Name, StagingTargetPath: staging,
				VolumeCapability: &csi.VolumeCapability{
					AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: string(fsType)}},
					AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
				},
			})
			must(t, err)
		})
		unstaged := trace.during(func() {
			_, err := node.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: wanted.Name, StagingTargetPath: staging})
			must(t, err)
		})
		deleted := trace.during(remove)
		judged.atMost("programs executed per create, stage, unstage and delete, "+string(fsType), float64(len(created)+len(staged)+len(unstaged)+len(deleted)), 0, "")
		result.row(string(fsType), countOf(first), countOf(created), countOf(staged), countOf(unstaged), countOf(deleted))
	}
	return result
}

func countOf(programs []string) string {
	if len(programs) == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s)", len(programs), strings.Join(programs, ", "))
}
