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
		"too much for an int64":       {[]v1alpha1.ThinVolume{volume("a", math.MaxInt64), volume("b", math.MaxInt64)}, nil, math.MaxInt64},
	} {
		if got := promised(c.volumes, c.assumed, block); got != c.want {
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
