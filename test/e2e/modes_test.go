//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

// TestGroupAndSharing: kubelet gives a pod's fsGroup its volume, so that a user who is not root can write (fsGroupPolicy File); a
// second pod on the node shares it, and writes nothing where it has it read-only.
func TestGroupAndSharing(t *testing.T) {
	beyondMainJob(t)
	t.Parallel()
	f := newFixture(t, 8*time.Minute)
	const user, group = 1234, 4321
	f.claim("shared", classExt4, 64*mebibyte)
	asUser := func(pod *corev1.Pod) {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](user), RunAsGroup: ptr.To[int64](user), FSGroup: ptr.To[int64](group)}
	}
	writer := f.run(cluster.Pod{Name: "writer", Claim: "shared", Node: suite.nodes[0], Change: asUser})
	got := f.shell(writer, fmt.Sprintf("cd %s; echo content >file; stat -c %%u:%%g file; stat -c %%g .", cluster.MountPath))
	if want := fmt.Sprintf("%d:%d\n%d", user, group, group); got != want {
		f.Errorf("file and directory belong to %q, want %q", got, want)
	}
	sharer := f.run(cluster.Pod{Name: "sharer", Claim: "shared", Change: asUser})
	if sharer.Spec.NodeName != writer.Spec.NodeName {
		f.Errorf("the second pod runs on %s, the volume is on %s", sharer.Spec.NodeName, writer.Spec.NodeName)
	}
	f.shell(sharer, fmt.Sprintf("cd %s; test \"$(cat file)\" = content; echo more >more", cluster.MountPath))
	f.must(f.DeletePod(f.ctx, deletionPatience, sharer))
	reader := f.run(cluster.Pod{Name: "reader", Claim: "shared", Change: func(pod *corev1.Pod) {
		asUser(pod)
		pod.Spec.Volumes[0].PersistentVolumeClaim.ReadOnly = true
	}})
	output := f.shell(reader, fmt.Sprintf("cd %s; cat more; (echo less >more) 2>&1 || true", cluster.MountPath))
	if !strings.HasPrefix(output, "more") || !strings.Contains(output, "Read-only file system") {
		f.Errorf("a pod that has the volume read-only: %q", output)
	}
	if more := f.shell(writer, "cat "+cluster.MountPath+"/more"); more != "more" {
		f.Errorf("the first pod reads %q, the second wrote more", more)
	}
}

// TestClassSettings: what the class says of mkfs, of the mount and of the root directory is so in the pod.
func TestClassSettings(t *testing.T) {
	beyondMainJob(t)
	t.Parallel()
	f := newFixture(t, 8*time.Minute)
	for fsType, mkfs := range map[string]string{"ext4": "-I 512", "xfs": "-i size=1024"} {
		class := "e2e-settings-" + fsType
		f.must(f.EnsureClass(f.ctx, cluster.Class{Name: class, MountOptions: []string{"noatime", "nosuid"}, Parameters: map[string]string{
			v1alpha1.ParameterFSType: fsType, v1alpha1.ParameterMkfsOptions: mkfs, v1alpha1.ParameterRootMode: "1770",
		}}))
		f.claim(fsType, class, 320*mebibyte)
		pod := f.run(cluster.Pod{Name: fsType, Claim: fsType, Node: suite.nodes[0]})
		mount := strings.Fields(f.shell(pod, "grep ' "+cluster.MountPath+" ' /proc/mounts"))
		if options := "," + mount[3] + ","; mount[2] != fsType || !strings.Contains(options, ",noatime,") || !strings.Contains(options, ",nosuid,") {
			f.Errorf("%s: the mount is %q", fsType, mount)
		}
		if mode := f.shell(pod, "stat -c %a "+cluster.MountPath); mode != "1770" {
			f.Errorf("%s: the root directory's mode is %s", fsType, mode)
		}
		f.shell(pod, "chmod 711 "+cluster.MountPath)
		device := mount[0]
		node, err := f.Lab.Node(f.ctx, suite.nodes[0])
		f.must(err)
		argv, want := []string{"dumpe2fs", "-h", device}, "Inode size:"
		if fsType == "xfs" {
			argv, want = []string{"xfs_db", "-r", "-c", "sb 0", "-c", "print inodesize", device}, "inodesize = 1024"
		}
		output, err := node.Output(f.ctx, argv...)
		f.must(err)
		if !strings.Contains(output, want) || fsType == "ext4" && !hasInodeSize(output, "512") {
			f.Errorf("%s: mkfs was not given %q:\n%s", fsType, mkfs, output)
		}
		f.must(f.DeletePod(f.ctx, deletionPatience, pod))
		pod = f.run(cluster.Pod{Name: fsType, Claim: fsType})
		if mode := f.shell(pod, "stat -c %a "+cluster.MountPath); mode != "711" {
			f.Errorf("%s: the pod's mode became %s", fsType, mode)
		}
		f.must(f.DeleteClass(f.ctx, class))
	}
}

// hasInodeSize looks for the line of dumpe2fs.
func hasInodeSize(output, size string) bool {
	for _, line := range strings.Split(output, "\n") {
		if value, found := strings.CutPrefix(line, "Inode size:"); found {
			return strings.TrimSpace(value) == size
		}
	}
	return false
}

// TestReadWriteOncePod: a second pod waits until the first is gone.
func TestReadWriteOncePod(t *testing.T) {
	beyondMainJob(t)
	t.Parallel()
	f := newFixture(t, 8*time.Minute)
	_, err := f.CreateClaim(f.ctx, cluster.Claim{Namespace: f.namespace, Name: "one", Class: classExt4, Size: 64 * mebibyte, AccessMode: corev1.ReadWriteOncePod})
	f.must(err)
	first := f.run(cluster.Pod{Name: "first", Claim: "one"})
	f.shell(first, "echo first >"+cluster.MountPath+"/file")
	second, err := f.CreatePod(f.ctx, cluster.Pod{Namespace: f.namespace, Name: "second", Claim: "one"})
	f.must(err)
	reason, err := f.AwaitUnschedulable(f.ctx, podPatience, second)
	f.must(err)
	if !strings.Contains(reason, "ReadWriteOncePod") {
		f.Errorf("the second pod waits because of %q", reason)
	}
	f.must(f.DeletePod(f.ctx, deletionPatience, first))
	f.must(f.AwaitRunning(f.ctx, podPatience, second))
	if content := f.shell(second, "cat "+cluster.MountPath+"/file"); content != "first" {
		f.Errorf("the second pod reads %q", content)
	}
}

// TestManyReaders: a clone that is ReadOnlyMany has the data of its source, for any number of pods on its node, and none writes.
func TestManyReaders(t *testing.T) {
	beyondMainJob(t)
	t.Parallel()
	f := newFixture(t, 8*time.Minute)
	f.claim("source", classXFS, 320*mebibyte)
	source := f.run(cluster.Pod{Name: "source", Claim: "source", Node: suite.nodes[0]})
	f.shell(source, "cd "+cluster.MountPath+"; echo content >file; sync file")
	_, err := f.CreateClaim(f.ctx, cluster.Claim{
		Namespace: f.namespace, Name: "readers", Class: classXFS, Size: 320 * mebibyte, AccessMode: corev1.ReadOnlyMany, Clone: "source",
	})
	f.must(err)
	for _, name := range []string{"reader-1", "reader-2"} {
		reader := f.run(cluster.Pod{Name: name, Claim: "readers"})
		if reader.Spec.NodeName != source.Spec.NodeName {
			f.Errorf("%s runs on %s, the data is on %s", name, reader.Spec.NodeName, source.Spec.NodeName)
		}
		output := f.shell(reader, fmt.Sprintf("cd %s; cat file; (echo more >file) 2>&1 || true", cluster.MountPath))
		if !strings.HasPrefix(output, "content") || !strings.Contains(output, "Read-only file system") {
			f.Errorf("%s: %q", name, output)
		}
	}
}

// TestRefusedAccessModes: what a volume on one node cannot be is refused with the list of what it can be.
func TestRefusedAccessModes(t *testing.T) {
	beyondMainJob(t)
	t.Parallel()
	f := newFixture(t, 5*time.Minute)
	for name, mode := range map[string]corev1.PersistentVolumeAccessMode{"many-writers": corev1.ReadWriteMany, "many-readers": corev1.ReadOnlyMany} {
		claim, err := f.CreateClaim(f.ctx, cluster.Claim{
			Namespace: f.namespace, Name: name, Class: classExt4, Size: 64 * mebibyte, AccessMode: mode, Node: suite.nodes[0],
		})
		f.must(err)
		event, err := f.AwaitEvent(f.ctx, eventPatience, "PersistentVolumeClaim", name,
			"ProvisioningFailed", "volume_capabilities[0].access_mode", "ReadWriteOnce or ReadWriteOncePod", "with a data source also", "ReadOnlyMany")
		if err != nil {
			f.Error(err)
		}
		f.Logf("%s: %s", mode, event)
		f.expectNothingMade(claim)
	}
}
