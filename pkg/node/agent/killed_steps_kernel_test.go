//go:build kernel

package agent

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// What the life is about, and what is written to it. The snapshot is taken between the first content and the second.
const (
	killedVolume   = "pvc-killed"
	killedSnapshot = "snapshot-killed"
	killedRestored = "pvc-killed-restored"
	killedInline   = "csi-killed"
	killedContent  = "written before the snapshot"
	killedSecond   = "written after the snapshot"
)

// grown is the size in bytes to which the volume grows.
func (j *killedJob) grown() int64 { return j.Size + 32<<20 }

// lifeStep is what kubelet or the API server asks for again if it is not acknowledged.
type lifeStep struct {
	name string
	run  func(ctx context.Context, p *killedProcess) error
	// passes are failpoints, or beginnings of their names, that the step comes by if nothing interrupts it. The test fails if it does
	// not: then it would not test what it is here for.
	passes []string
}

// creation is the failpoints of a formatted volume's first making, deletion those of one that is done at once.
var (
	creation = []string{"base: intent durable", "base: thin device made", "base: formatted", "base: result riding", "create: "}
	deletion = []string{
		"delete: deactivated", "delete: intent durable", "delete: active for discards", "delete: blocks given back",
		"delete: thin device deleted", "delete: result riding",
	}
	// discarding is a deletion of what shares not all its blocks.
	discarding = slices.Concat(deletion, []string{"delete: slice discarded"})
)

// lifeSteps are the lives of a volume, of a snapshot of it while it is mounted, of the volume that is restored from that, and of a
// pod's inline volume.
var lifeSteps = []lifeStep{
	{"create", func(ctx context.Context, p *killedProcess) error {
		return p.makeVolume(ctx, killedVolume, p.Size, nil)
	}, creation},
	{"stage", func(ctx context.Context, p *killedProcess) error { return p.stage(ctx, killedVolume, p.staging()) }, nil},
	{"publish", func(ctx context.Context, p *killedProcess) error { return p.publish(ctx) }, nil},
	{"write", func(_ context.Context, p *killedProcess) error {
		p.reached("before the fsync")
		return writeDurably(p.target(), killedContent)
	}, nil},
	{"grow", func(ctx context.Context, p *killedProcess) error {
		return p.growVolume(ctx, killedVolume, p.grown())
	}, []string{"resize: "}},
	{"expand", func(ctx context.Context, p *killedProcess) error { return p.expand(ctx) }, nil},
	{"snapshot", func(ctx context.Context, p *killedProcess) error {
		return p.takeSnapshot(ctx, killedSnapshot, killedVolume, p.grown())
	}, []string{"create: ", "snapshot: "}},
	{"write again", func(_ context.Context, p *killedProcess) error {
		p.reached("before the fsync")
		return writeDurably(p.target(), killedSecond)
	}, nil},
	{"restore", func(ctx context.Context, p *killedProcess) error {
		return p.makeVolume(ctx, killedRestored, p.grown(), &v1alpha1.VolumeSource{SnapshotName: killedSnapshot})
	}, []string{"create: "}},
	{"delete the snapshot", func(ctx context.Context, p *killedProcess) error {
		return p.remove(ctx, p.snapshots, &v1alpha1.ThinSnapshot{ObjectMeta: metav1.ObjectMeta{Name: killedSnapshot}})
	}, deletion},
	{"stage the restored", func(ctx context.Context, p *killedProcess) error {
		if err := p.stage(ctx, killedRestored, p.restoredStaging()); err != nil {
			return err
		}
		return holds(p.restoredStaging(), killedContent)
	}, nil},
	{"unstage the restored", func(ctx context.Context, p *killedProcess) error {
		return p.unstage(ctx, killedRestored, p.restoredStaging())
	}, nil},
	{"delete the restored", func(ctx context.Context, p *killedProcess) error {
		return p.remove(ctx, p.volumes, &v1alpha1.ThinVolume{ObjectMeta: metav1.ObjectMeta{Name: killedRestored}})
	}, discarding},
	{"publish inline", func(ctx context.Context, p *killedProcess) error { return p.publishInline(ctx) }, []string{"create: "}},
	{"write inline", func(_ context.Context, p *killedProcess) error {
		p.reached("before the fsync")
		return writeDurably(p.inlineTarget(), killedContent)
	}, nil},
	{"publish inline again", func(ctx context.Context, p *killedProcess) error {
		// As kubelet does once more whenever it has been restarted.
		if err := p.publishInline(ctx); err != nil {
			return err
		}
		return holds(p.inlineTarget(), killedContent)
	}, nil},
	{"unpublish inline", func(ctx context.Context, p *killedProcess) error {
		return p.unpublish(ctx, killedInline, p.inlineTarget())
	}, discarding},
	{"read", func(_ context.Context, p *killedProcess) error {
		p.reached("before the read")
		return holds(p.target(), killedSecond)
	}, nil},
	{"unpublish", func(ctx context.Context, p *killedProcess) error { return p.unpublish(ctx, killedVolume, p.target()) }, nil},
	{"unstage", func(ctx context.Context, p *killedProcess) error { return p.unstage(ctx, killedVolume, p.staging()) }, nil},
	{"delete", func(ctx context.Context, p *killedProcess) error {
		return p.remove(ctx, p.volumes, &v1alpha1.ThinVolume{ObjectMeta: metav1.ObjectMeta{Name: killedVolume}})
	}, discarding},
}
