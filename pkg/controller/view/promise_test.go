package view

import (
	"math"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

const block = 64 << 10

func volume(name string, capacity int64, change ...func(*v1alpha1.ThinVolume)) v1alpha1.ThinVolume {
	v := v1alpha1.ThinVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1},
		Spec:       v1alpha1.ThinVolumeSpec{Capacity: *resource.NewQuantity(capacity, resource.BinarySI)},
	}
	for _, c := range change {
		c(&v)
	}
	return v
}

func refused(reason string, generation int64) func(*v1alpha1.ThinVolume) {
	return func(v *v1alpha1.ThinVolume) {
		v.Status.Conditions = []metav1.Condition{{
			Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: reason, ObservedGeneration: generation,
		}}
	}
}

func sized(size int64) func(*v1alpha1.ThinVolume) {
	return func(v *v1alpha1.ThinVolume) { v.Status.Size = resource.NewQuantity(size, resource.BinarySI) }
}

func deleted(v *v1alpha1.ThinVolume) {
	now := metav1.Now()
	v.DeletionTimestamp = &now
}

func TestPromised(t *testing.T) {
	for name, c := range map[string]struct {
		volumes []v1alpha1.ThinVolume
		assumed Assumed
		want    int64
	}{
		"nothing":                     {nil, nil, 0},
		"whole blocks":                {[]v1alpha1.ThinVolume{volume("a", 1), volume("b", block)}, nil, 2 * block},
		"reported size":               {[]v1alpha1.ThinVolume{volume("a", block, sized(3*block))}, nil, 3 * block},
		"capacity grew":               {[]v1alpha1.ThinVolume{volume("a", 5*block, sized(3*block))}, nil, 5 * block},
		"refused holds nothing":       {[]v1alpha1.ThinVolume{volume("a", block, refused(v1alpha1.ReasonNoSpace, 1))}, nil, 0},
		"refusal of an older request": {[]v1alpha1.ThinVolume{volume("a", block, refused(v1alpha1.ReasonNoSpace, 0))}, nil, block},
		"failed may hold something":   {[]v1alpha1.ThinVolume{volume("a", block, refused(v1alpha1.ReasonFailed, 1))}, nil, block},
		"being deleted holds":         {[]v1alpha1.ThinVolume{volume("a", block, deleted)}, nil, block},
		"assumed":                     {[]v1alpha1.ThinVolume{volume("a", block)}, Assumed{"b": 1}, 2 * block},
		"assumed and seen":            {[]v1alpha1.ThinVolume{volume("a", block)}, Assumed{"a": block}, block},
		"assumed to grow":             {[]v1alpha1.ThinVolume{volume("a", block, sized(block))}, Assumed{"a": 2*block + 1}, 3 * block},
		"grown meanwhile":             {[]v1alpha1.ThinVolume{volume("a", 3*block, sized(3*block))}, Assumed{"a": 2 * block}, 3 * block},
		"too much for an int64":       {[]v1alpha1.ThinVolume{volume("a", math.MaxInt64), volume("b", math.MaxInt64)}, nil, math.MaxInt64},
	} {
		if got := promised(c.volumes, nil, nil, c.assumed, block); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestPoolInput(t *testing.T) {
	bytes := func(n int64) *resource.Quantity { return resource.NewQuantity(n, resource.BinarySI) }
	overprovision := resource.MustParse("1.5")
	part := v1alpha1.NodeThinPool{
		Spec: v1alpha1.NodeThinPoolSpec{PoolSettings: v1alpha1.PoolSettings{MinFreeSpace: "7%", Overprovision: &overprovision}},
		Status: v1alpha1.NodeThinPoolStatus{
			BlockSize: bytes(block), BaseBytes: bytes(5), Data: v1alpha1.SpaceUsage{Total: bytes(100), Used: bytes(20)},
		},
	}
	got, err := poolInput(&part)
	if err != nil || got.MinFreePercent != 7 || got.OverprovisionMilli != 1500 || got.DataTotal != 100 || got.DataUsed != 20 ||
		got.BaseBytes != 5 || got.BlockSize != block || got.Promised != 0 || got.Admitting {
		t.Errorf("%+v, %v", got, err)
	}
	for name, change := range map[string]func(*v1alpha1.NodeThinPool){
		"no block size": func(p *v1alpha1.NodeThinPool) { p.Status.BlockSize = nil },
		"no total":      func(p *v1alpha1.NodeThinPool) { p.Status.Data.Total = nil },
		"no used":       func(p *v1alpha1.NodeThinPool) { p.Status.Data.Used = nil },
		"no percentage": func(p *v1alpha1.NodeThinPool) { p.Spec.MinFreeSpace = "much" },
	} {
		bad := part.DeepCopy()
		change(bad)
		if _, err := poolInput(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzWholeBlocks(f *testing.F) {
	f.Add(int64(1), int64(block))
	f.Add(int64(math.MaxInt64), int64(block))
	f.Fuzz(func(t *testing.T, size, blockSize int64) {
		if size < 0 || blockSize <= 0 || blockSize > 1<<30 {
			return
		}
		got := WholeBlocks(size, blockSize)
		if got%blockSize != 0 || (got < size && size <= math.MaxInt64-blockSize) || (got >= blockSize && got-blockSize >= size) {
			t.Errorf("WholeBlocks(%d, %d) = %d", size, blockSize, got)
		}
	})
}

// TestPromisedToSnapshots: a snapshot counts with all of its size, under a name that no volume has.
func TestPromisedToSnapshots(t *testing.T) {
	snapshot := func(name string, capacity int64, change ...func(*v1alpha1.ThinSnapshot)) v1alpha1.ThinSnapshot {
		s := v1alpha1.ThinSnapshot{
			ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1},
			Spec:       v1alpha1.ThinSnapshotSpec{Capacity: *resource.NewQuantity(capacity, resource.BinarySI)},
		}
		for _, c := range change {
			c(&s)
		}
		return s
	}
	noSpace := func(s *v1alpha1.ThinSnapshot) {
		s.Status.Conditions = []metav1.Condition{{
			Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNoSpace, ObservedGeneration: 1,
		}}
	}
	smaller := func(s *v1alpha1.ThinSnapshot) {
		s.Status.RestoreSize = resource.NewQuantity(2*block, resource.BinarySI)
	}
	for name, c := range map[string]struct {
		snapshots []v1alpha1.ThinSnapshot
		assumed   Assumed
		want      int64
	}{
		"whole blocks":          {[]v1alpha1.ThinSnapshot{snapshot("a", 1)}, nil, 2 * block},
		"what the node reports": {[]v1alpha1.ThinSnapshot{snapshot("a", 3*block, smaller)}, nil, 3 * block},
		"refused holds nothing": {[]v1alpha1.ThinSnapshot{snapshot("a", block, noSpace)}, nil, block},
		"assumed":               {[]v1alpha1.ThinSnapshot{snapshot("a", block)}, Assumed{"b.snapshot": 1}, 3 * block},
		"assumed and seen":      {[]v1alpha1.ThinSnapshot{snapshot("a", block)}, Assumed{"a.snapshot": block}, 2 * block},
		"a volume of its name":  {[]v1alpha1.ThinSnapshot{snapshot("a", block)}, Assumed{"a": block}, 3 * block},
	} {
		if got := promised([]v1alpha1.ThinVolume{volume("v", block)}, c.snapshots, nil, c.assumed, block); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestPromisedToGroups: a group counts for those of its snapshots that have no object of their own yet.
func TestPromisedToGroups(t *testing.T) {
	group := v1alpha1.ThinGroupSnapshot{ObjectMeta: metav1.ObjectMeta{Name: "g", Generation: 1}, Spec: v1alpha1.ThinGroupSnapshotSpec{
		Members: []v1alpha1.GroupSnapshotMember{
			{VolumeName: "v", SnapshotName: "a", Capacity: *resource.NewQuantity(block, resource.BinarySI)},
			{VolumeName: "w", SnapshotName: "b", Capacity: *resource.NewQuantity(2*block-1, resource.BinarySI)},
		},
	}}
	own := []v1alpha1.ThinSnapshot{{
		ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: v1alpha1.ThinSnapshotSpec{Capacity: *resource.NewQuantity(block, resource.BinarySI)},
	}}
	noSpace := *group.DeepCopy()
	noSpace.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNoSpace, ObservedGeneration: 1,
	}}
	for name, c := range map[string]struct {
		groups    []v1alpha1.ThinGroupSnapshot
		snapshots []v1alpha1.ThinSnapshot
		assumed   Assumed
		want      int64
	}{
		"no object yet":    {[]v1alpha1.ThinGroupSnapshot{group}, nil, nil, 3 * block},
		"one has its own":  {[]v1alpha1.ThinGroupSnapshot{group}, own, nil, 3 * block},
		"assumed and seen": {[]v1alpha1.ThinGroupSnapshot{group}, own, Assumed{"a.snapshot": block, "b.snapshot": block, "c.snapshot": 1}, 4 * block},
		"refused":          {[]v1alpha1.ThinGroupSnapshot{noSpace}, nil, nil, 0},
	} {
		if got := promised(nil, c.snapshots, c.groups, c.assumed, block); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
