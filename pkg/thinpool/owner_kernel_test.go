//go:build kernel

package thinpool_test

import (
	"testing"

	"github.com/csi-dm/csi-dm/pkg/thinpool"
	"github.com/csi-dm/csi-dm/test/kerneltest"
)

// owned is a volume of a pod.
func owned(name string) thinpool.VolumeSpec {
	spec := ext4(name, 32*mib)
	spec.Owner = "pods/" + name + "/volumes/kubernetes.io~csi/scratch/mount"
	return spec
}

// TestOwner: whose a volume is stays known over a crash and an upgrade of the registry, and the volume answers to nobody else.
func TestOwner(t *testing.T) {
	kerneltest.CheckClean(t)
	ctx, dm, config := testContext(t), client(t), configOn(kerneltest.Disk(t, 2*gib))
	p := open(t, dm, config)
	nobodys := ext4("pvc-1", 64*mib)
	create(t, p, nobodys)
	// As a driver left it that knew no owners.
	if err := p.SetRegistryVersion(ctx, 2); err != nil {
		t.Fatal(err)
	}
	closed(t, p)
	p = open(t, dm, config)
	spec := owned("csi-1")
	hostile := ext4("csi-2", 32*mib)
	hostile.Owner = "pods/0a\n"
	_, err := p.CreateVolume(ctx, hostile)
	refused(t, err, thinpool.ErrInvalid, "owner")
	create(t, p, spec)

	check := func(p *thinpool.Pool, when string) {
		t.Helper()
		volumes := p.Volumes()
		if len(volumes) != 2 || volumes[0].Owner != spec.Owner || volumes[1].Owner != "" {
			t.Fatalf("%s: %+v", when, volumes)
		}
		if status := get(p.Status(ctx))(t); status.Volumes != 2 || status.OwnedVolumes != 1 || status.OwnedBytes != 32*mib || status.PromisedBytes != 96*mib {
			t.Errorf("%s: %+v", when, status)
		}
		create(t, p, spec)    //nolint:contextcheck // it works under the test's own context
		create(t, p, nobodys) //nolint:contextcheck // it works under the test's own context
		for _, other := range []thinpool.VolumeSpec{ext4("csi-1", 32*mib), {Name: "pvc-1", Size: 64 * mib, Format: nobodys.Format, Owner: spec.Owner}} {
			_, err := p.CreateVolume(ctx, other)
			refused(t, err, thinpool.ErrVolumeExists, "owner")
		}
	}
	check(p, "made")
	closed(t, p)
	for _, name := range []string{"create: intent durable", "create: thin device made", "create: result riding"} {
		killed := owned("csi-3")
		if result := runChild(t, childJob{Config: config, Failpoint: name, Script: "owner"}, outcome{}, 0); !result.killed {
			t.Fatalf("the child did not come to %q", name)
		}
		p = get(thinpool.Open(ctx, dm, config))(t)
		if v := create(t, p, killed); v.Owner != killed.Owner {
			t.Errorf("killed at %q: %+v", name, v)
		}
		if err := p.DeleteVolume(ctx, killed.Name); err != nil {
			t.Fatal(err)
		}
		check(p, "after a kill at "+name)
		closed(t, p)
	}
	p = open(t, dm, config)
	check(p, "at last")
	if version := get(p.StoredRegistryVersion())(t); version != thinpool.RegistryVersion {
		t.Errorf("the registry has version %d", version)
	}
}
