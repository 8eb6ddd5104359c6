package cluster

import (
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/test/lab/control"
)

func TestComplete(t *testing.T) {
	defaults := control.NodeOptions{Name: "node-c", PoolDiskBytes: control.DefaultPoolDisk, MemoryBytes: control.DefaultMemory}
	taken := func(name string) bool { return name == "node-a" || name == "node-b" }
	with := func(change func(*control.NodeOptions)) control.NodeOptions {
		options := defaults
		change(&options)
		return options
	}
	for name, test := range map[string]struct {
		options control.NodeOptions
		want    control.NodeOptions
		refused string
	}{
		"defaults":        {options: control.NodeOptions{}, want: defaults},
		"name is kept":    {options: control.NodeOptions{Name: "big"}, want: with(func(o *control.NodeOptions) { o.Name = "big" })},
		"sizes are kept":  {options: with(func(o *control.NodeOptions) { o.PoolDiskBytes = 1 << 30 }), want: with(func(o *control.NodeOptions) { o.PoolDiskBytes = 1 << 30 })},
		"name is taken":   {options: control.NodeOptions{Name: "node-a"}, refused: `name "node-a"`},
		"name with a dot": {options: control.NodeOptions{Name: "a.b"}, refused: `name "a.b"`},
		"long name":       {options: control.NodeOptions{Name: strings.Repeat("a", 21)}, refused: "name"},
		"path as name":    {options: control.NodeOptions{Name: "../etc"}, refused: "name"},
		"small disk":      {options: control.NodeOptions{PoolDiskBytes: 512}, refused: "poolDiskBytes 512"},
		"half a sector":   {options: control.NodeOptions{PoolDiskBytes: control.DefaultPoolDisk + 1}, refused: "poolDiskBytes"},
		"negative disk":   {options: control.NodeOptions{PoolDiskBytes: -512}, refused: "poolDiskBytes -512"},
		"little memory":   {options: control.NodeOptions{MemoryBytes: 1 << 20}, refused: "memoryBytes 1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := complete(test.options, taken)
			if test.refused != "" {
				if err == nil || !strings.HasPrefix(err.Error(), test.refused) {
					t.Errorf("error %v, want one about %s", err, test.refused)
				}
				return
			}
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

func TestCompleteWithoutFreeName(t *testing.T) {
	if _, err := complete(control.NodeOptions{}, func(string) bool { return true }); err == nil {
		t.Error("a 27th default name was found")
	}
}
