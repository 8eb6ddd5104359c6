//go:build kernel

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/csi-dm/csi-dm/pkg/devicemapper"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node/admin"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

const gib = int64(1 << 30)

// testNode is a node's agent as far as an admin sees it, on the kernel's pools.
type testNode struct {
	t    *testing.T
	dm   *devicemapper.Client
	set  *pools.Set
	dir  string // for sockets
	stop func()
}

func newNode(t *testing.T) *testNode {
	t.Helper()
	dm, err := devicemapper.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dm.Close() })
	return &testNode{t: t, dm: dm, dir: t.TempDir()}
}

func (n *testNode) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	n.t.Cleanup(cancel)
	return ctx
}

// start starts the agent with pools of those configurations.
func (n *testNode) start(configs ...thinpool.Config) {
	n.t.Helper()
	n.set = pools.NewSet(func(ctx context.Context, config thinpool.Config) (pools.Pool, error) {
		pool, err := thinpool.Open(ctx, n.dm, config)
		if err != nil {
			return nil, err
		}
		return pool, nil
	})
	for _, config := range configs {
		_, _, _ = n.set.Open(n.context(), config) // one that does not open is for the admin to find out about
	}
	ctx, cancel := context.WithCancel(context.Background())
	server, err := admin.Listen(ctx, admin.Socket(n.dir), n.set, admin.KernelEngine{DM: n.dm}, func(string) {})
	if err != nil {
		n.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx) }()
	n.stop = func() {
		cancel()
		if err := errors.Join(<-ended, n.set.Close()); err != nil {
			n.t.Error(err)
		}
	}
}

// down stops the agent and takes its pools down.
func (n *testNode) down(names ...string) {
	n.t.Helper()
	for _, name := range names {
		if err := n.set.Shutdown(n.context(), name); err != nil {
			n.t.Error(err)
		}
	}
	n.stop()
}

// run runs a command and gives what it prints and its exit status.
func (n *testNode) run(stdin io.Reader, arguments ...string) (stdout, stderr string, status int) {
	n.t.Helper()
	var out, errs bytes.Buffer
	root := newRootCommand()
	if arguments[1] != "list" {
		arguments = append(arguments, "--run-dir", n.dir)
	}
	root.SetArgs(arguments)
	root.SetIn(stdin)
	root.SetOut(&out)
	root.SetErr(&errs)
	err := root.ExecuteContext(n.context())
	if err != nil {
		errs.WriteString(err.Error())
	}
	return out.String(), errs.String(), exitStatus(err)
}

// expect runs a command that must end with that status, and says what it must.
func (n *testNode) expect(status int, says []string, arguments ...string) string {
	n.t.Helper()
	out, errs, got := n.run(strings.NewReader(""), arguments...)
	if got != status {
		n.t.Errorf("%v ended with %d instead of %d: %s%s", arguments, got, status, out, errs)
	}
	for _, text := range says {
		if !strings.Contains(out+errs, text) {
			n.t.Errorf("%v does not say %q:\n%s%s", arguments, text, out, errs)
		}
	}
	return out
}

func configOf(name string, devices ...string) thinpool.Config {
	return thinpool.Config{Name: name, BlockSize: 64 << 10, MinFreePercent: 10, OverprovisionMilli: 1000, Source: thinpool.Source{Devices: devices}}
}

func (n *testNode) create(pool string, spec thinpool.VolumeSpec) {
	n.t.Helper()
	p, err := n.set.Get(pool)
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := p.CreateVolume(n.context(), spec); err != nil {
		n.t.Fatal(err)
	}
}

func ext4(name string, size int64) thinpool.VolumeSpec {
	return thinpool.VolumeSpec{Name: name, Size: size, Format: filesystem.Format{Type: filesystem.Ext4}}
}

// damage zeroes the superblock of the metadata of a pool that is not active: behind label and registry.
func damage(t *testing.T, disk string) {
	t.Helper()
	device, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = device.WriteAt(make([]byte, 4096), 65<<20); err == nil {
		err = device.Sync()
	}
	if err := errors.Join(err, device.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestPoolInfoOnKernel: a pool of the kernel's, on devices and on a file, has every name that docker info had, and what
// stands there is the pool's own: its bases are there when no volume is.
func TestPoolInfoOnKernel(t *testing.T) {
	kerneltest.CheckClean(t)
	n, disk := newNode(t), kerneltest.Disk(t, gib)
	loop := configOf("loop")
	loop.Source = thinpool.Source{Loopback: &thinpool.Loopback{Path: filepath.Join(kerneltest.Scratch(t), "loop-pool"), Size: gib}}
	defer os.Remove(loop.Source.Loopback.Path)
	n.start(configOf("fast", disk), loop)
	defer n.down("fast", "loop")
	n.expect(exitDone, []string{"Base Device Size: no base yet\n", "Backing Filesystem: no base yet\n"}, "pool", "info", "fast")
	n.create("fast", ext4("v", 64<<20))
	n.create("fast", thinpool.VolumeSpec{Name: "x", Size: 300 << 20, Format: filesystem.Format{Type: filesystem.XFS}})
	n.create("fast", thinpool.VolumeSpec{Name: "raw", Size: 10 << 20})
	pool, err := n.set.Get("fast")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"v", "x", "raw"} {
		if err := pool.DeleteVolume(n.context(), name); err != nil {
			t.Fatal(err)
		}
	}
	status, err := pool.Status(n.context())
	if err != nil {
		t.Fatal(err)
	}
	text := n.expect(exitDone, []string{
		"Pool Name: " + status.DeviceName, "Pool Blocksize: 64 KiB\n", "Base Device Size: 64 MiB (ext4), 300 MiB (xfs)\n", "Backing Filesystem: ext4, xfs\n",
		"Data file: " + disk + "\n", "Metadata file: " + disk + "\n", "Data Space Total: " + admin.Size(status.Data.Total) + "\n",
		"Metadata Space Total: " + admin.Size(status.Metadata.Total) + "\n", "Thin Pool Minimum Free Space: ", "Library Version: device mapper 4.",
		"Udev Sync Supported: ", "Deferred Removal Enabled: ", "Deferred Deletion Enabled: true\n", "Deferred Deleted Device Count: ", "Mode: ReadWrite\n",
	}, "pool", "info", "fast")
	for _, name := range []string{"Data Space Used", "Data Space Available", "Metadata Space Used", "Metadata Space Available"} {
		if !strings.Contains(text, "\n"+name+": ") {
			t.Errorf("%q is missing in\n%s", name, text)
		}
	}
	t.Logf("\n%s", text)
	n.expect(exitDone, []string{"Data loop file: " + loop.Source.Loopback.Path, "Metadata loop file: " + loop.Source.Loopback.Path}, "pool", "info", "loop")
	var infos []admin.PoolInfo
	if err := json.Unmarshal([]byte(n.expect(exitDone, nil, "pool", "info", "-o", "json")), &infos); err != nil || len(infos) != 2 ||
		infos[0].Data.Total != status.Data.Total || infos[0].Data.Used == 0 || len(infos[0].Bases) != 2 || infos[0].Bases[0].MappedBytes == 0 || infos[0].BaseBytes == 0 {
		t.Errorf("%+v, %v", infos, err)
	}
}

// TestPoolListOnKernel: pools are found by the labels of all block devices, whether or not anybody has them open, and
// volumes that pretend to be one are not looked at.
func TestPoolListOnKernel(t *testing.T) {
	kerneltest.CheckClean(t)
	n, first, second := newNode(t), kerneltest.Disk(t, gib), kerneltest.Disk(t, gib/4)
	n.start(configOf("fast", first, second))
	n.create("fast", thinpool.VolumeSpec{Name: "forger", Size: 4 << 20})
	pool, err := n.set.Get("fast")
	if err != nil {
		t.Fatal(err)
	}
	path, err := pool.Activate(n.context(), "forger")
	if err != nil {
		t.Fatal(err)
	}
	label := make([]byte, 1<<20)
	source, err := os.Open(first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = source.ReadAt(label, 0); err == nil {
		err = os.WriteFile(path, label, 0)
	}
	if err := errors.Join(err, source.Close()); err != nil {
		t.Fatal(err)
	}
	var found []thinpool.FoundPool
	if err := json.Unmarshal([]byte(n.expect(exitDone, nil, "pool", "list", "-o", "json")), &found); err != nil || len(found) != 1 || found[0].Complete() != nil ||
		found[0].Devices[0].Path != first || found[0].Devices[1].Path != second || !found[0].Made || found[0].BlockSize != 64<<10 {
		t.Errorf("%+v, %v", found, err)
	}
	n.expect(exitDone, []string{"fast", "1 of 2", first, "ready"}, "pool", "list")
	n.expect(exitDone, []string{"incomplete"}, "pool", "list", "--device", second)
	n.expect(exitFailed, []string{"device not found"}, "pool", "list", "--device", "/dev/no-such")
	if err := pool.Deactivate(n.context(), "forger"); err != nil {
		t.Fatal(err)
	}
	n.expect(exitInUse, []string{"another process"}, "pool", "check", "fast", "--device", first, "--device", second)
	n.down("fast")
	n.expect(exitDone, []string{"Mode: not active", "Metadata: sound", "Registry: sound", "Volumes: 1"}, "pool", "check", "fast")
	n.expect(exitDone, []string{"Metadata: sound"}, "pool", "check", "--device", second, "--device", first)
	n.expect(exitFailed, []string{"device not found", "device 0 of"}, "pool", "check", "fast", "--device", second)
	n.expect(exitFailed, []string{`no pool "slow"`, "fast"}, "pool", "check", "slow")
}

// TestPoolRepairOnKernel: an admin repairs a pool that the agent cannot open, while the agent runs, and one without an agent;
// nothing is done that nobody agreed to, or while volumes are in use.
func TestPoolRepairOnKernel(t *testing.T) {
	kerneltest.CheckClean(t)
	n, disk := newNode(t), kerneltest.Disk(t, gib)
	config := configOf("fast", disk)
	n.start(config)
	n.create("fast", ext4("v", 64<<20))
	n.expect(exitDone, []string{"Metadata: sound", "Mode: ReadWrite"}, "pool", "check")
	pool, err := n.set.Get("fast")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Activate(n.context(), "v"); err != nil {
		t.Fatal(err)
	}
	n.expect(exitInUse, []string{"volume is in use"}, "pool", "repair", "fast", "--yes")
	if err := pool.Deactivate(n.context(), "v"); err != nil {
		t.Fatal(err)
	}
	n.expect(exitDone, []string{"nothing: there was nothing to repair"}, "pool", "repair", "fast", "--yes")
	n.expect(exitFailed, []string{`"slow"`}, "pool", "repair", "slow", "--yes")
	if again, err := n.set.Get("fast"); err != nil || again == pool {
		t.Errorf("the pool was not opened again: %v", err)
	}
	n.down("fast")

	damage(t, disk)
	n.start(config)
	n.expect(exitDone, []string{"Not Open: "}, "pool", "info")
	n.expect(exitDamaged, []string{"Metadata: damaged", "superblock is corrupt"}, "pool", "check", "fast")
	n.expect(exitNotAgreedTo, []string{"say --yes"}, "pool", "repair", "fast")
	terminal(t)
	out, errs, status := n.run(strings.NewReader("no\n"), "pool", "repair", "fast")
	if status != exitNotAgreedTo || !strings.Contains(errs, "into the spare area") || !strings.Contains(errs, "Type yes") || out != "" {
		t.Errorf("no: %d, %q, %q", status, out, errs)
	}
	n.expect(exitDamaged, []string{"Metadata: damaged"}, "pool", "check", "fast")
	out, errs, status = n.run(strings.NewReader("yes\n"), "pool", "repair", "fast", "-o", "json")
	var report thinpool.RepairReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != exitDamaged || !report.After.Sound() || !report.Reconstructed || len(report.Done) != 1 {
		t.Errorf("yes: %d, %v, %+v, %q", status, err, report, errs)
	}
	// The agent has it again.
	n.expect(exitDone, []string{"Mode: ReadWrite", "Volumes: 1"}, "pool", "info", "fast")
	n.expect(exitDone, []string{"fast"}, "volume", "usage")
	n.down("fast")

	n.expect(exitDone, []string{"Done: nothing: there was nothing to repair", "Volumes: 1"}, "pool", "repair", "fast", "--yes", "--device", disk)
	n.expect(exitFailed, []string{"the node agent is not running"}, "pool", "grow", "fast", "--yes")
}

// TestPoolGrowOnKernel: nothing grows before somebody agrees, and then what the device has grown by is there.
func TestPoolGrowOnKernel(t *testing.T) {
	kerneltest.CheckClean(t)
	n, below := newNode(t), kerneltest.Disk(t, gib)
	dmsetup := func(arguments ...string) {
		t.Helper()
		if output, err := exec.Command("dmsetup", arguments...).CombinedOutput(); err != nil {
			t.Fatalf("dmsetup %v: %v: %s", arguments, err, output)
		}
	}
	table := func(size int64) string { return fmt.Sprintf("0 %d linear %s 0", size/512, below) }
	dmsetup("create", "growing", "--table", table(gib/2))
	defer dmsetup("remove", "growing")
	info, err := n.dm.Info(n.context(), devicemapper.Name("growing"))
	if err != nil {
		t.Fatal(err)
	}
	n.start(configOf("fast", info.Path()))
	defer n.down("fast")
	total := func() int64 {
		t.Helper()
		pool, err := n.set.Get("fast")
		if err != nil {
			t.Fatal(err)
		}
		status, err := pool.Status(n.context())
		if err != nil {
			t.Fatal(err)
		}
		return status.Data.Total
	}
	before := total()
	n.expect(exitDone, []string{"Data Space Total: " + admin.Size(before) + ", was " + admin.Size(before)}, "pool", "grow", "fast", "--yes")
	dmsetup("load", "growing", "--table", table(gib))
	dmsetup("suspend", "--nolockfs", "growing")
	dmsetup("resume", "growing")
	n.expect(exitNotAgreedTo, []string{"say --yes"}, "pool", "grow", "fast")
	if total() != before {
		t.Error("nobody agreed to it, and it has grown")
	}
	n.expect(exitDone, []string{", was " + admin.Size(before)}, "pool", "grow", "fast", "--yes")
	if grown := total() - before; grown < gib/2-(64<<20) {
		t.Errorf("it has grown by %d of %d bytes", grown, gib/2)
	}
}

// TestPoolDropBaseOnKernel: a base that was damaged gives no volume, and the error names its thin id. Dropped by that id, once
// somebody agrees, it is followed by a new one, and the volume that came from it is still there.
func TestPoolDropBaseOnKernel(t *testing.T) {
	kerneltest.CheckClean(t)
	n, config := newNode(t), configOf("fast", kerneltest.Disk(t, gib))
	n.start(config)
	n.create("fast", ext4("before", 64<<20))
	pool, err := n.set.Get("fast")
	if err != nil {
		t.Fatal(err)
	}
	base := pool.Bases()[0].ThinID
	status, err := pool.Status(n.context())
	if err != nil {
		t.Fatal(err)
	}
	below, err := n.dm.Info(n.context(), devicemapper.Name(status.DeviceName))
	if err != nil {
		t.Fatal(err)
	}
	table := devicemapper.Table{{Length: devicemapper.SectorsOf(64 << 20), Target: devicemapper.Thin{Pool: below.Number, ID: devicemapper.ThinID(base)}}}
	device, err := n.dm.Activate(n.context(), "csi-dm-test-tampering", "", table)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(device.Path(), make([]byte, 8<<10), 0); err != nil {
		t.Error(err)
	}
	if _, err := n.dm.Remove(n.context(), device, devicemapper.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	n.stop()
	n.start(config) // a base is looked at once after each opening
	defer n.down("fast")
	if pool, err = n.set.Get("fast"); err != nil {
		t.Fatal(err)
	}
	_, err = pool.CreateVolume(n.context(), ext4("after", 64<<20))
	if !errors.Is(err, thinpool.ErrBaseDamaged) || !strings.Contains(err.Error(), fmt.Sprintf("thin device %d,", base)) {
		t.Fatalf("a volume of a damaged base: %v", err)
	}
	id := fmt.Sprint(base)
	n.expect(exitUsage, []string{`BASE: "ext4" is not allowed`}, "pool", "drop-base", "fast", "ext4", "--yes")
	n.expect(exitFailed, []string{"base not found", "there are [" + id + " (ext4 64 MiB)]"}, "pool", "drop-base", "fast", "4711", "--yes")
	n.expect(exitFailed, []string{`no pool "slow"`}, "pool", "drop-base", "slow", id, "--yes")
	n.expect(exitNotAgreedTo, []string{"say --yes"}, "pool", "drop-base", "fast", id)
	if bases := pool.Bases(); len(bases) != 1 || bases[0].ThinID != base {
		t.Fatalf("nobody agreed to it, and the bases are %+v", bases)
	}
	n.expect(exitDone, []string{"Deleted base " + id + " (ext4 64 MiB)"}, "pool", "drop-base", "fast", id, "--yes")
	n.expect(exitFailed, []string{"base not found", "there are []"}, "pool", "drop-base", "fast", id, "--yes")
	n.create("fast", ext4("after", 64<<20))
	if bases := pool.Bases(); len(bases) != 1 || bases[0].ThinID == base {
		t.Errorf("the bases are %+v", bases)
	}
	for _, name := range []string{"before", "after"} {
		path, err := pool.Activate(n.context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if output, err := exec.Command("e2fsck", "-fn", path).CombinedOutput(); err != nil {
			t.Errorf("%s: e2fsck: %v: %s", name, err, output)
		}
		if err := pool.Deactivate(n.context(), name); err != nil {
			t.Error(err)
		}
	}
}

// terminal has somebody at a terminal until the test ends.
func terminal(t *testing.T) {
	t.Helper()
	before := isTerminal
	isTerminal = func(io.Reader) bool { return true }
	t.Cleanup(func() { isTerminal = before })
}
