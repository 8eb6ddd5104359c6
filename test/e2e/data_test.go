//go:build e2e

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/csi-dm/csi-dm/test/e2e/cluster"
	"github.com/csi-dm/csi-dm/test/lab"
)

// TestData: on either file system a pod finds a volume of the size it asked for, and what it fsynced is there after the pod,
// and after the node's power, is gone.
func TestData(t *testing.T) {
	const size = 512 * mebibyte
	f := newFixture(t, 15*time.Minute)
	node := suite.nodes[0]
	var writers []*writer
	for fsType, class := range map[string]string{"ext4": classExt4, "xfs": classXFS} {
		w := &writer{fixture: f, node: node, name: fsType}
		claim := f.claim(fsType, class, size)
		_, err := f.AwaitEvent(f.ctx, eventPatience, "PersistentVolumeClaim", claim.Name, "waiting for first consumer")
		f.must(err)
		w.start()
		checkFileSystem(w, claim, fsType, size)
		w.write("before-pod-deletion")
		writers = append(writers, w)
	}
	for _, w := range writers {
		f.must(f.DeletePod(f.ctx, deletionPatience, w.pod))
		w.start()
		w.check("after the pod was deleted and made again")
		w.write("before-power-cut")
	}

	machine, err := f.Lab.Node(f.ctx, node)
	f.must(err)
	f.must(machine.PowerCut(f.ctx))
	powerless := time.Now()
	f.must(machine.Boot(f.ctx))
	f.Logf("%s was Ready again %s after its power was cut", node, time.Since(powerless).Round(100*time.Millisecond))
	_, err = suite.deployment.AwaitPool(f.ctx, node)
	f.must(err)
	for _, w := range writers {
		f.awaitRestart(w.pod, powerless)
		w.check("after the power cut")
		w.write("after-power-cut")
		w.check("after writing once more")
	}
}

// writer is a pod that writes files and knows what it wrote.
type writer struct {
	*fixture
	node, name string
	pod        *corev1.Pod
	sums       map[string]string
}

// begin creates the pod and does not wait for it.
func (w *writer) begin() {
	w.Helper()
	var err error
	w.pod, err = w.CreatePod(w.ctx, cluster.Pod{Namespace: w.namespace, Name: w.name, Claim: w.name, Node: w.node})
	w.must(err)
}

func (w *writer) start() {
	w.Helper()
	w.begin()
	w.must(w.AwaitRunning(w.ctx, podPatience, w.pod))
}

// write makes a file of random bytes and returns once it, and its name, are fsynced.
func (w *writer) write(file string) {
	w.Helper()
	line := fmt.Sprintf("cd %s; dd if=/dev/urandom of=%s bs=1M count=16 conv=fsync 2>/dev/null; sync .; sha256sum %s", cluster.MountPath, file, file)
	if w.sums == nil {
		w.sums = map[string]string{}
	}
	w.sums[file] = w.shell(w.pod, line)
}

// check reads all files again, and past the page cache where the pod is a new one.
func (w *writer) check(when string) {
	w.Helper()
	for file, want := range w.sums {
		if got := w.shell(w.pod, fmt.Sprintf("cd %s; sha256sum %s", cluster.MountPath, file)); got != want {
			w.Errorf("%s: %s: checksum of %s is %q, it was %q when it was fsynced", w.name, when, file, got, want)
		}
	}
}

// awaitRestart waits until the pod's container runs that was started after a moment: until then the pod's status is that of
// before.
func (f *fixture) awaitRestart(pod *corev1.Pod, since time.Time) {
	f.Helper()
	f.must(f.AwaitObject(f.ctx, bootPatience, pod, "running since "+since.Format(time.TimeOnly), func() string {
		for _, container := range pod.Status.ContainerStatuses {
			// The API has whole seconds.
			if running := container.State.Running; running != nil && running.StartedAt.After(since.Truncate(time.Second)) && container.Ready {
				return ""
			}
		}
		return fmt.Sprintf("its containers are %+v", pod.Status.ContainerStatuses)
	}))
}

// checkFileSystem: the device is as large as the claim says, the file system fills it, and df in the pod shows what the file
// system's own structures leave of it.
func checkFileSystem(w *writer, claim *corev1.PersistentVolumeClaim, fsType string, size int64) {
	w.Helper()
	fields := strings.Fields(w.shell(w.pod, "grep ' "+cluster.MountPath+" ' /proc/mounts"))
	if len(fields) < 4 || fields[2] != fsType {
		w.Fatalf("mount of the claim: %q: want %s", fields, fsType)
	}
	handle, err := w.AwaitBound(w.ctx, bindPatience, claim)
	w.must(err)
	device := volumeDevice(w.fixture, w.node, handle)
	node, err := w.Lab.Node(w.ctx, w.node)
	w.must(err)
	bytes, err := node.Output(w.ctx, "blockdev", "--getsize64", device)
	w.must(err)
	if bytes != strconv.FormatInt(size, 10) {
		w.Errorf("%s: the volume's device has %s bytes, %d were asked for", fsType, bytes, size)
	}
	if blocks := fileSystemBytes(w.fixture, node, fsType, device); blocks != size {
		w.Errorf("%s: the file system has %d bytes on a device of %d", fsType, blocks, size)
	}
	total := diskTotal(w)
	if least := size - fileSystemOverhead(fsType, size); total > size || total < least {
		w.Errorf("%s: df shows a total of %d bytes for a claim of %d: want at least %d", fsType, total, size, least)
	}
	w.Logf("%s: df shows %.1f MiB of %.1f MiB", fsType, float64(total)/mebibyte, float64(size)/mebibyte)
}

// fileSystemOverhead bounds what a file system keeps for itself and df leaves out: ext4 its journal (mke2fs: 16 MiB below 1 GiB)
// and an inode of 256 bytes for each 16 KiB, with some for bitmaps and descriptors; xfs its log (64 MiB at least) and the heads
// of its allocation groups.
func fileSystemOverhead(fsType string, size int64) int64 {
	if fsType == "xfs" {
		return 64*mebibyte + size/64
	}
	return 16*mebibyte + size/64 + size/128
}

// diskTotal is the total that df prints, in bytes.
func diskTotal(w *writer) int64 {
	w.Helper()
	lines := strings.Split(w.shell(w.pod, "df -P -k "+cluster.MountPath), "\n")
	fields := strings.Fields(lines[len(lines)-1])
	if len(fields) < 2 {
		w.Fatalf("df printed %q", lines)
	}
	kibibytes, err := strconv.ParseInt(fields[1], 10, 64)
	w.must(err)
	return kibibytes << 10
}

// fileSystemBytes is the size that the superblock on the device states, read by the file system's own tool.
func fileSystemBytes(f *fixture, node *lab.Node, fsType, device string) int64 {
	f.Helper()
	argv, blocksField, sizeField := []string{"dumpe2fs", "-h", device}, "Block count", "Block size"
	if fsType == "xfs" {
		argv, blocksField, sizeField = []string{"xfs_db", "-r", "-c", "sb 0", "-c", "print dblocks blocksize", device}, "dblocks", "blocksize"
	}
	output, err := node.Output(f.ctx, argv...)
	f.must(err)
	values := map[string]int64{}
	for _, line := range strings.Split(output, "\n") {
		key, value, found := strings.Cut(line, ":")
		if !found {
			key, value, _ = strings.Cut(line, "=")
		}
		if number, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64); err == nil {
			values[strings.TrimSpace(key)] = number
		}
	}
	if values[blocksField] == 0 || values[sizeField] == 0 {
		f.Fatalf("%q printed no %q or %q:\n%s", argv, blocksField, sizeField, output)
	}
	return values[blocksField] * values[sizeField]
}

// volumeDevice is the path of a volume's block device on its node, found by what kubelet has staged.
func volumeDevice(f *fixture, nodeName, handle string) string {
	f.Helper()
	node, err := f.Lab.Node(f.ctx, nodeName)
	f.must(err)
	output, err := node.Output(f.ctx, "grep", "--no-filename", "/globalmount ", "/proc/self/mountinfo")
	f.must(err)
	folder := stagingFolder(handle)
	for _, line := range strings.Split(output, "\n") {
		if fields := strings.Fields(line); len(fields) > 4 && strings.Contains(fields[4], folder) {
			_, minor, _ := strings.Cut(fields[2], ":")
			return "/dev/dm-" + minor
		}
	}
	f.Fatalf("volume %s is not staged on %s; mounts are\n%s", handle, nodeName, output)
	return ""
}
