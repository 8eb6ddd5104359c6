//go:build e2e

package lab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/csi-dm/csi-dm/test/lab"
	"github.com/csi-dm/csi-dm/test/lab/control"
	"github.com/csi-dm/csi-dm/test/lab/image"
)

// cluster is the lab that is up, or one that this test brings up and takes down again.
var cluster *lab.Lab

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Minute)
	defer cancel()
	existing, err := lab.Attach(ctx)
	if err == nil {
		cluster = existing
		return m.Run()
	}
	if cluster, err = lab.Up(ctx, lab.Options{Progress: os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	status := m.Run()
	if err := cluster.Down(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if status == 0 {
		status = checkNothingLeft(ctx)
	}
	return status
}

// checkNothingLeft looks for what a lab might leave behind.
func checkNothingLeft(ctx context.Context) int {
	left := 0
	complain := func(format string, arguments ...any) {
		fmt.Fprintf(os.Stderr, "left behind: "+format+"\n", arguments...)
		left = 1
	}
	if _, err := lab.Attach(ctx); !errors.Is(err, lab.ErrNotRunning) {
		complain("a lab that answers with %v", err)
	}
	paths := cluster.Paths()
	for _, folder := range []string{paths.Run, paths.Disks} {
		if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
			complain("%s", folder)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || bytes.Contains(mounts, []byte(paths.Run)) {
		complain("a mount below %s (%v)", paths.Run, err)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(commands) == 0 {
		complain("no way to look for processes (%v)", err)
	}
	for _, file := range commands {
		command, _ := os.ReadFile(file) // it may have ended by now
		if bytes.Contains(command, []byte(paths.Run+"/")) || bytes.Contains(command, []byte(paths.Disks+"/")) {
			complain("process %s: %s", file, bytes.ReplaceAll(command, []byte{0}, []byte(" ")))
		}
	}
	return left
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func client(t *testing.T) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", cluster.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return clientset
}

func node(t *testing.T, name string) *lab.Node {
	t.Helper()
	n, err := cluster.Node(testContext(t), name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// output runs a command on the node that must succeed.
func output(t *testing.T, n *lab.Node, argv ...string) string {
	t.Helper()
	text, err := n.Output(testContext(t), argv...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// startPod runs a shell script in a pod on a node until the test ends, and waits until it is Running.
func startPod(t *testing.T, name, onNode, image, script string) *corev1.Pod {
	t.Helper()
	ctx, c, none := testContext(t), client(t), int64(0)
	pods := c.CoreV1().Pods(metav1.NamespaceDefault)
	t.Cleanup(func() { deletePod(t, name) })
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			NodeName:                      onNode,
			TerminationGracePeriodSeconds: &none,
			Containers: []corev1.Container{{
				Name: "shell", Image: image, ImagePullPolicy: corev1.PullNever, Command: []string{"sh", "-c", script},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		current, err := pods.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		pod = current
		return pod.Status.Phase == corev1.PodRunning && pod.Status.PodIP != "", nil
	})
	if err != nil {
		t.Fatalf("pod %s is %+v: %v", name, pod.Status, err)
	}
	return pod
}

// awaitLogs waits for a pod's logs to be the wanted ones: a container is Running before its first line is written.
func awaitLogs(t *testing.T, name, want string) {
	t.Helper()
	var logs []byte
	err := wait.PollUntilContextTimeout(testContext(t), 100*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		var err error
		logs, err = client(t).CoreV1().Pods(metav1.NamespaceDefault).GetLogs(name, &corev1.PodLogOptions{}).DoRaw(ctx)
		return string(logs) == want, err
	})
	if err != nil {
		t.Errorf("pod %s: logs are %q, want %q: %v", name, logs, want, err)
	}
}

func deletePod(t *testing.T, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pods := client(t).CoreV1().Pods(metav1.NamespaceDefault)
	if err := pods.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, err := pods.Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
	if err != nil {
		t.Errorf("pod %s does not go: %v", name, err)
	}
}

// TestNodes: two nodes of the right version, with what a thin pool needs.
func TestNodes(t *testing.T) {
	for _, name := range []string{"node-a", "node-b"} {
		t.Run(name, func(t *testing.T) {
			n := node(t, name)
			if !n.Running || !n.Ready {
				t.Errorf("running %v, ready %v", n.Running, n.Ready)
			}
			object, err := client(t).CoreV1().Nodes().Get(testContext(t), name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if version := object.Status.NodeInfo.KubeletVersion; version != "v1.37.1" {
				t.Errorf("kubelet is %s", version)
			}
			if host := output(t, n, "hostname"); host != name {
				t.Errorf("hostname is %q", host)
			}
			if size := output(t, n, "blockdev", "--getsize64", lab.PoolDevice); size != fmt.Sprint(n.PoolDiskBytes) {
				t.Errorf("%s has %s bytes, want %d", lab.PoolDevice, size, n.PoolDiskBytes)
			}
			if targets := output(t, n, "dmsetup", "targets"); !strings.Contains(targets, "thin-pool") {
				t.Errorf("device mapper has no thin-pool: %s", targets)
			}
			fileSystems := output(t, n, "cat", "/proc/filesystems")
			for _, fileSystem := range []string{"ext4", "xfs"} {
				if !strings.Contains(fileSystems, "\t"+fileSystem+"\n") {
					t.Errorf("the kernel knows no %s", fileSystem)
				}
			}
		})
	}
}

// TestExec: output, exit status and input of commands on a node.
func TestExec(t *testing.T) {
	n := node(t, "node-a")
	result, err := n.Run(testContext(t), control.ExecRequest{
		Argv: []string{"sh", "-c", `cat; echo "$WORD"; echo complaint >&2; exit 7`}, Stdin: []byte("input\n"), Environment: []string{"WORD=word"},
	})
	if err != nil || string(result.Stdout) != "input\nword\n" || string(result.Stderr) != "complaint\n" || result.ExitStatus != 7 {
		t.Errorf("got %+v, %v", result, err)
	}
	if result, err := n.Exec(testContext(t), "sh", "-c", "kill -TERM $$"); err != nil || result.ExitStatus != 128+15 {
		t.Errorf("killed by SIGTERM: got %+v, %v", result, err)
	}
	if _, err := n.Exec(testContext(t), "no-such-program"); err == nil {
		t.Error("a program that is not there was run")
	}
	var exit *lab.ExitError
	if _, err := n.Output(testContext(t), "false"); !errors.As(err, &exit) || exit.Result.ExitStatus != 1 {
		t.Errorf("Output of false: %v", err)
	}
	if _, err := cluster.Node(testContext(t), "node-x"); !errors.Is(err, lab.ErrNoSuchNode) {
		t.Errorf("node-x: %v", err)
	}
	// A command ends with its caller's context.
	short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := n.Exec(short, "sh", "-c", sleeper); err == nil {
		t.Error("sleep returned without an error")
	}
	if _, err := n.Output(testContext(t), "cat", "/run/sleeper"); err != nil {
		t.Fatalf("sleep did not begin: %v", err)
	}
	err = wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		runs, err := sleeperRuns(ctx, n)
		return !runs, err
	})
	if err != nil {
		t.Errorf("sleep outlives its caller: %v", err)
	}
}

// sleeper is a script that notes its process id and sleeps.
const sleeper = "echo $$ >/run/sleeper && exec sleep 3600"

// sleeperRuns tells whether a node's sleeper is there.
func sleeperRuns(ctx context.Context, n *lab.Node) (bool, error) {
	result, err := n.Exec(ctx, "sh", "-c", "kill -0 $(cat /run/sleeper)")
	return result.ExitStatus == 0, err
}

// TestPods: logs, exec, Services, and pods of two nodes that talk to each other.
func TestPods(t *testing.T) {
	ctx, c := testContext(t), client(t)
	server := startPod(t, "server", "node-a", image.Busybox,
		"mkdir /www && echo 'hello from '$(hostname) >/www/index.html && echo serving && exec httpd -f -p 8080 -h /www")
	startPod(t, "caller", "node-b", image.Busybox, "sleep 3600")

	awaitLogs(t, "server", "serving\n")
	inPod := func(script string) string {
		t.Helper()
		command := cluster.Command(ctx, "kubectl", "exec", "caller", "--", "sh", "-c", script)
		var stderr strings.Builder
		command.Stderr = &stderr
		text, err := command.Output()
		if err != nil {
			t.Errorf("%s: %v: %s", script, err, stderr.String())
		}
		return string(text)
	}
	const want = "hello from server\n"
	if got := inPod("wget -qO- http://" + server.Status.PodIP + ":8080/"); got != want {
		t.Errorf("from pod to pod: %q", got)
	}
	if got := inPod("cat /var/run/secrets/kubernetes.io/serviceaccount/namespace"); got != "default" {
		t.Errorf("the pod's service account is of namespace %q", got)
	}

	service, err := c.CoreV1().Services(metav1.NamespaceDefault).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "server"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "server"},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.CoreV1().Services(metav1.NamespaceDefault).Delete(context.Background(), "server", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	// kube-proxy gathers changes for a second. Option -T of Debian's busybox wget crashes, hence timeout.
	url := "http://" + service.Spec.ClusterIP + "/"
	if got := inPod("for i in 1 2 3 4 5 6 7 8 9 10; do timeout 5 wget -qO- " + url + " && exit; sleep 1; done; exit 1"); got != want {
		t.Errorf("from pod to Service: %q", got)
	}
	if got := output(t, node(t, "node-a"), "timeout", "5", "busybox", "wget", "-qO-", url); got+"\n" != want {
		t.Errorf("from node to Service: %q", got)
	}
	// kube-apiserver by the Service that every client library looks for.
	if got := inPod("nc -w 5 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null && echo open"); got != "open\n" {
		t.Errorf("from pod to kube-apiserver: %q", got)
	}
}

// TestMountPropagation: what a privileged pod mounts below kubelet's folder appears on the node, as a CSI driver needs it.
func TestMountPropagation(t *testing.T) {
	ctx, c, yes, none := testContext(t), client(t), true, int64(0)
	bidirectional := corev1.MountPropagationBidirectional
	t.Cleanup(func() { deletePod(t, "mounter") })
	_, err := c.CoreV1().Pods(metav1.NamespaceDefault).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "mounter"},
		Spec: corev1.PodSpec{
			NodeName: "node-a", TerminationGracePeriodSeconds: &none,
			Containers: []corev1.Container{{
				Name: "shell", Image: image.Busybox, ImagePullPolicy: corev1.PullNever,
				Command: []string{"sh", "-c", "ls /dev/ubdb /dev/mapper/control /sys/block/ubdb && mkdir -p /var/lib/kubelet/test && " +
					"mount -t tmpfs test /var/lib/kubelet/test && touch /var/lib/kubelet/test/seen && sleep 3600"},
				SecurityContext: &corev1.SecurityContext{Privileged: &yes},
				VolumeMounts: []corev1.VolumeMount{
					{Name: "kubelet", MountPath: "/var/lib/kubelet", MountPropagation: &bidirectional},
					{Name: "dev", MountPath: "/dev"}, {Name: "sys", MountPath: "/sys"},
				},
			}},
			Volumes: []corev1.Volume{hostPath("kubelet", "/var/lib/kubelet"), hostPath("dev", "/dev"), hostPath("sys", "/sys")},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := node(t, "node-a")
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		result, err := n.Exec(ctx, "test", "-e", "/var/lib/kubelet/test/seen")
		return result.ExitStatus == 0, err
	})
	if err != nil {
		t.Errorf("the mount does not appear on the node: %v", err)
	}
	output(t, n, "umount", "/var/lib/kubelet/test")
}

func hostPath(name, path string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}}}
}

// TestPowerCut: what was flushed is there after the cut, what was in memory is not, and the node is itself again.
func TestPowerCut(t *testing.T) {
	ctx := testContext(t)
	n := node(t, "node-b")
	before := output(t, n, "cat", "/proc/sys/kernel/random/boot_id")
	output(t, n, "sh", "-c", "echo flushed >/root/flushed && sync /root/flushed && echo volatile >/run/volatile")
	output(t, n, "sh", "-c", "echo disk | dd of="+lab.PoolDevice+" bs=512 conv=sync,fsync status=none")
	pod := startPod(t, "survivor", "node-b", image.Busybox, "sleep 3600")

	if err := n.PowerCut(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n.PowerCut(ctx); err == nil {
		t.Error("a node without power was cut")
	}
	if _, err := n.Exec(ctx, "true"); err == nil {
		t.Error("a command ran on a node without power")
	}
	if current := node(t, "node-b"); current.Running {
		t.Error("status says that the node has power")
	}
	start := time.Now()
	if err := n.Boot(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("from power to Ready: %s", time.Since(start).Round(100*time.Millisecond))
	if err := n.Boot(ctx); err == nil {
		t.Error("a node with power was booted")
	}

	current := node(t, "node-b")
	if !current.Running || !current.Ready || current.Address != n.Address {
		t.Errorf("after the boot: %+v, before: %+v", current.Node, n.Node)
	}
	if after := output(t, n, "cat", "/proc/sys/kernel/random/boot_id"); after == before {
		t.Error("it is the same boot")
	}
	if content := output(t, n, "cat", "/root/flushed"); content != "flushed" {
		t.Errorf("/root/flushed has %q", content)
	}
	if result, err := n.Exec(ctx, "test", "-e", "/run/volatile"); err != nil || result.ExitStatus != 1 {
		t.Errorf("/run outlived the power cut: %+v, %v", result, err)
	}
	if content := output(t, n, "head", "-c", "4", lab.PoolDevice); content != "disk" {
		t.Errorf("%s begins with %q", lab.PoolDevice, content)
	}
	// kubelet starts the pod's container anew.
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		again, err := client(t).CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		status := again.Status.ContainerStatuses
		return len(status) == 1 && status[0].RestartCount > 0 && status[0].State.Running != nil, nil
	})
	if err != nil {
		t.Errorf("the pod does not run again: %v", err)
	}
	output(t, n, "dd", "if=/dev/zero", "of="+lab.PoolDevice, "bs=512", "count=1", "conv=fsync", "status=none")
}

// TestExecAtPowerCut: a command does not hang when its node goes.
func TestExecAtPowerCut(t *testing.T) {
	ctx := testContext(t)
	n := node(t, "node-b")
	result := make(chan error, 1)
	go func() {
		_, err := n.Exec(ctx, "sh", "-c", sleeper)
		result <- err
	}()
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		return sleeperRuns(ctx, n)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.PowerCut(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-result:
		if err == nil || !strings.Contains(err.Error(), "lost power") {
			t.Errorf("the command's error is %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the command hangs")
	}
	if err := n.Boot(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestAddNodeAndLoadImage: a node added at run time has a disk of the size asked for and also an image that was loaded before.
func TestAddNodeAndLoadImage(t *testing.T) {
	ctx := testContext(t)
	reference := fmt.Sprintf("csi-dm.local/loaded:%d", time.Now().Unix())
	archive := filepath.Join(t.TempDir(), "loaded.tar")
	err := image.Archive(image.Image{
		Reference: reference,
		Files: []image.File{
			{Path: "/bin/busybox", Source: "/bin/busybox"}, {Path: "/bin/sh", Link: "busybox"}, {Path: "/bin/sleep", Link: "busybox"},
		},
		Environment: []string{"PATH=/bin", "LOADED=yes"},
	}, archive)
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.LoadImage(ctx, archive); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(archive); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.AddNode(ctx, control.NodeOptions{Name: "node-a"}); err == nil {
		t.Error("a second node-a was added")
	}
	const size = 256 << 20
	start := time.Now()
	added, err := cluster.AddNode(ctx, control.NodeOptions{PoolDiskBytes: size, MemoryBytes: 768 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s Ready after %s", added.Name, time.Since(start).Round(100*time.Millisecond))
	if !added.Ready || !added.Running {
		t.Errorf("the node is %+v", added.Node)
	}
	if got := output(t, added, "blockdev", "--getsize64", lab.PoolDevice); got != fmt.Sprint(size) {
		t.Errorf("%s has %s bytes, want %d", lab.PoolDevice, got, size)
	}
	for i, name := range []string{"node-a", added.Name} {
		pod := startPod(t, fmt.Sprintf("loaded-%d", i), name, reference, "echo loaded=$LOADED; sleep 3600")
		awaitLogs(t, pod.Name, "loaded=yes\n")
	}
}

// TestInstallSnapshotCRDs: the kinds of the snapshot controller that the lab has an image of are served.
func TestInstallSnapshotCRDs(t *testing.T) {
	ctx := testContext(t)
	if err := cluster.InstallSnapshotCRDs(ctx); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"volumesnapshots", "volumesnapshotcontents", "volumesnapshotclasses", "volumegroupsnapshots"} {
		err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
			return cluster.Command(ctx, "kubectl", "get", kind).Run() == nil, nil
		})
		if err != nil {
			t.Errorf("kubectl get %s: %v", kind, err)
		}
	}
}

// TestUpTwice: a lab that is up is what Up returns.
func TestUpTwice(t *testing.T) {
	again, err := lab.Up(testContext(t), lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := cluster.Status(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	second, err := again.Status(testContext(t))
	if err != nil || second.Supervisor != first.Supervisor {
		t.Errorf("another lab: first process %d, was %d, %v", second.Supervisor, first.Supervisor, err)
	}
}
