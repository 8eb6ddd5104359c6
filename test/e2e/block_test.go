//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

// blockSize is larger than what one pool block holds and small enough to be read whole.
const blockSize = 64 * mebibyte

// TestBlock: a pod finds a block device of the size it asked for, which reads as zeros although other tenants' data was in the
// pool before; what it wrote is there after the pod, and after the node's power, is gone; a read-only one refuses writes.
func TestBlock(t *testing.T) {
	beyondMainJob(t)
	f := newFixture(t, 15*time.Minute)
	node := suite.nodes[0]
	f.leaveTraces(node)

	claim, err := f.CreateClaim(f.ctx, cluster.Claim{Namespace: f.namespace, Name: "block", Class: classExt4, Size: blockSize, Block: true})
	f.must(err)
	w := &deviceWriter{fixture: f, claim: claim, node: node}
	w.start()
	if size := w.shell(w.pod, "blockdev --getsize64 "+cluster.DevicePath); size != strconv.Itoa(blockSize) {
		f.Errorf("the device has %s bytes, %d were asked for", size, blockSize)
	}
	// The first write takes blocks of the pool that held what others had written.
	w.shell(w.pod, fmt.Sprintf("dd if=/dev/zero of=%s bs=4k count=1 seek=1000 conv=fsync,notrunc 2>/dev/null", cluster.DevicePath))
	if zeros := w.shell(w.pod, fmt.Sprintf("head -c %d /dev/zero | cmp - %s && echo same", blockSize, cluster.DevicePath)); zeros != "same" {
		f.Errorf("a fresh block volume does not read as zeros: %s", zeros)
	}
	w.write(0)

	f.must(f.DeletePod(f.ctx, deletionPatience, w.pod))
	w.start()
	w.check("after the pod was deleted and made again")
	w.write(16)

	machine, err := f.Lab.Node(f.ctx, node)
	f.must(err)
	f.must(machine.PowerCut(f.ctx))
	powerless := time.Now()
	f.must(machine.Boot(f.ctx))
	_, err = suite.deployment.AwaitPool(f.ctx, node)
	f.must(err)
	f.awaitRestart(w.pod, powerless)
	w.check("after the power cut")

	f.must(f.DeletePod(f.ctx, deletionPatience, w.pod))
	w.readOnly = true
	w.start()
	w.check("read-only")
	output := w.shell(w.pod, fmt.Sprintf("dd if=/dev/urandom of=%s bs=4k count=1 conv=fsync 2>&1 || true", cluster.DevicePath))
	if !strings.Contains(output, "ermi") && !strings.Contains(output, "ead-only") {
		f.Errorf("a write to a read-only block volume: %q", output)
	}
	w.check("after a write that was refused")
}

// TestBlockCopies: a snapshot and a clone of a block device that a pod has open hold what was fsynced, in pods beside it and in a
// larger device; what is written to one later, no other sees.
func TestBlockCopies(t *testing.T) {
	beyondMainJob(t)
	f := newFixture(t, 10*time.Minute)
	node := suite.nodes[0]
	claim, err := f.CreateClaim(f.ctx, cluster.Claim{Namespace: f.namespace, Name: "block", Class: classExt4, Size: blockSize, Block: true})
	f.must(err)
	source := &deviceWriter{fixture: f, claim: claim, node: node}
	source.start()
	source.write(0)
	object, err := f.CreateSnapshot(f.ctx, f.namespace, "block", classSnapshots, claim.Name)
	f.must(err)
	_, err = f.AwaitSnapshot(f.ctx, snapshotPatience, object)
	f.must(err)
	restored := source.copyTo(cluster.Claim{Name: "restored", Snapshot: "block", Size: 2 * blockSize})
	source.write(16)
	cloned := source.copyTo(cluster.Claim{Name: "cloned", Clone: claim.Name, Size: blockSize})
	if size := f.shell(restored.pod, "blockdev --getsize64 "+cluster.DevicePath); size != strconv.Itoa(2*blockSize) {
		f.Errorf("the restored device has %s bytes, %d were asked for", size, 2*blockSize)
	}
	if zeros := f.shell(restored.pod, fmt.Sprintf("dd if=%s bs=1M skip=16 2>/dev/null | tr -d '\\0' | wc -c", cluster.DevicePath)); zeros != "0" {
		f.Errorf("%s bytes of the restored device are not zero behind what was written before the snapshot", zeros)
	}
	restored.write(0)
	cloned.write(16)
	source.check("after its copies were written to")
	restored.check("restored")
	cloned.check("cloned")
}

// copyTo starts a pod on a copy of the device, beside it, and checks that the copy holds what the device holds now.
func (w *deviceWriter) copyTo(asked cluster.Claim) *deviceWriter {
	w.Helper()
	asked.Namespace, asked.Class, asked.Block = w.namespace, classExt4, true
	claim, err := w.CreateClaim(w.ctx, asked)
	w.must(err)
	other := &deviceWriter{fixture: w.fixture, claim: claim, node: w.node, sums: maps.Clone(w.sums)}
	other.start()
	other.check(asked.Name)
	return other
}

// leaveTraces writes other tenants' volumes full and deletes them, so that the pool's free blocks hold something.
func (f *fixture) leaveTraces(node string) {
	f.Helper()
	for _, name := range []string{"tenant-1", "tenant-2"} {
		claim, err := f.CreateClaim(f.ctx, cluster.Claim{Namespace: f.namespace, Name: name, Class: classExt4, Size: blockSize, Block: true, Node: node})
		f.must(err)
		pod := f.run(cluster.Pod{Name: name, Claim: name, Block: true})
		f.shell(pod, fmt.Sprintf("yes secret | dd of=%s bs=1M count=%d iflag=fullblock conv=fsync 2>/dev/null", cluster.DevicePath, blockSize/mebibyte))
		f.must(f.DeletePod(f.ctx, deletionPatience, pod))
		f.must(f.Delete(f.ctx, claim))
		f.must(f.AwaitGone(f.ctx, deletionPatience, claim))
	}
}

// deviceWriter is a pod that writes to a block device and knows what it wrote.
type deviceWriter struct {
	*fixture
	claim    *corev1.PersistentVolumeClaim
	node     string
	readOnly bool
	pod      *corev1.Pod
	sums     map[int]string // by MiB from the beginning of the device
}

func (w *deviceWriter) start() {
	w.Helper()
	w.pod = w.run(cluster.Pod{Name: w.claim.Name, Claim: w.claim.Name, Node: w.node, Block: true, Change: func(pod *corev1.Pod) {
		pod.Spec.Volumes[0].PersistentVolumeClaim.ReadOnly = w.readOnly
	}})
}

// write writes 16 MiB of random bytes and returns once they are fsynced.
func (w *deviceWriter) write(at int) {
	w.Helper()
	if w.sums == nil {
		w.sums = map[int]string{}
	}
	w.sums[at] = w.shell(w.pod, fmt.Sprintf(
		"dd if=/dev/urandom of=/dev/shm/data bs=1M count=16 2>/dev/null; dd if=/dev/shm/data of=%s bs=1M seek=%d conv=fsync,notrunc 2>/dev/null; sha256sum </dev/shm/data", cluster.DevicePath, at))
}

func (w *deviceWriter) check(when string) {
	w.Helper()
	for at, want := range w.sums {
		if got := w.shell(w.pod, fmt.Sprintf("dd if=%s bs=1M skip=%d count=16 2>/dev/null | sha256sum", cluster.DevicePath, at)); got != want {
			w.Errorf("%s: what was written at %d MiB has the checksum %q, it was %q when it was fsynced", when, at, got, want)
		}
	}
}
