//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/test/e2e/cluster"
	"github.com/csi-dm/csi-dm/test/e2e/exectrace"
	"github.com/csi-dm/csi-dm/test/e2e/exectrace/audit"
)

// TestNoMkfsOnPodStart: the node's kernel records every program that is executed. The first volume of a new size makes a base,
// which the record shows: it can see mkfs. From then on neither the start of a pod, nor a second volume of that size with its pod,
// runs mkfs; and the node plugin executes no program at all.
func TestNoMkfsOnPodStart(t *testing.T) {
	for fsType, class := range map[string]string{"ext4": classExt4, "xfs": classXFS} {
		t.Run(fsType, func(t *testing.T) { testNoMkfs(t, class) })
	}
}

func testNoMkfs(t *testing.T, class string) {
	f := newFixture(t, 10*time.Minute)
	node := suite.nodes[0]
	// A size that no earlier run in this lab can have left a base for: the lab may have been up for long.
	size := int64(384*mebibyte + rand.N(2000)*64<<10)
	plugin, err := f.Processes(f.ctx, node, "csi-dm", "node")
	f.must(err)
	if len(plugin) != 1 {
		f.Fatalf("node plugins on %s: %v: want one", node, plugin)
	}
	machine, err := f.Lab.Node(f.ctx, node)
	f.must(err)
	trace, err := exectrace.Start(f.ctx, machine, suite.recorder)
	f.must(err)
	mark := func() exectrace.Mark {
		t.Helper()
		m, err := trace.Mark(f.ctx)
		f.must(err)
		return m
	}

	start := mark()
	f.volumeOn(node, "first", class, size)
	firstMade := mark()
	f.run(cluster.Pod{Name: "first", Claim: "first"})
	firstRuns := mark()
	f.volumeOn(node, "second", class, size)
	f.run(cluster.Pod{Name: "second", Claim: "second"})
	secondRuns := mark()
	f.must(trace.Stop(f.ctx))

	control := trace.Between(start, firstMade)
	if makers := exectrace.Makers(exectrace.DescendantsOf(control, plugin)); len(makers) == 0 {
		f.Fatalf("the first volume of %d bytes was made and no mkfs was seen below the node plugin: this test sees nothing\n%v", size, control)
	} else {
		f.Logf("the base was made by %v", makers)
	}
	podStart := trace.Between(firstMade, firstRuns)
	if !ranShell(podStart) {
		f.Fatalf("a pod started and its shell was not seen: this test sees nothing\n%v", podStart)
	}
	for what, execs := range map[string][]audit.Exec{
		"the start of a pod on the first volume":   podStart,
		"a second volume and the start of its pod": trace.Between(firstRuns, secondRuns),
	} {
		if makers := exectrace.Makers(execs); len(makers) != 0 {
			f.Errorf("%s ran %v", what, makers)
		}
		if children := exectrace.DescendantsOf(execs, plugin); len(children) != 0 {
			f.Errorf("%s made the node plugin execute %v: the clean path has no program to run", what, children)
		}
		f.Logf("%s: %d programs were executed on the node, none by the node plugin", what, len(execs))
	}
}

// ranShell tells whether the pods' shell is among the executions.
func ranShell(execs []audit.Exec) bool {
	for _, exec := range execs {
		if len(exec.Arguments) == 3 && exec.Arguments[0] == "/bin/sh" && exec.Arguments[1] == "-c" {
			return true
		}
	}
	return false
}

// stagingFolder is the folder below kubelet's plugins directory where it stages a volume: the SHA-256 of the handle.
func stagingFolder(handle string) string {
	sum := sha256.Sum256([]byte(handle))
	return hex.EncodeToString(sum[:])
}
