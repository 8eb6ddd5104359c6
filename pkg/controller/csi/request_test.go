package csi

import (
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

func TestRequestName(t *testing.T) {
	for _, plain := range []string{"pvc-1", "pvc-0a1b2c3d-0000-1111-2222-333344445555", "a.b", strings.Repeat("a", 80)} {
		if got, err := requestName(plain); err != nil || got != plain {
			t.Errorf("%q became %q (%v)", plain, got, err)
		}
	}
	seen := map[string]string{}
	for _, odd := range []string{
		"UPPER", "upper_", "a/b", "../../etc", "a..b", "-a", "a b", "ä", strings.Repeat("a", 81), strings.Repeat("a", 128),
		"request-" + strings.Repeat("0", 40),
	} {
		got, err := requestName(odd)
		if err != nil || !hashedName.MatchString(got) {
			t.Errorf("%q became %q (%v), want a hash", odd, got, err)
		}
		if other, taken := seen[got]; taken {
			t.Errorf("%q and %q are the same", odd, other)
		}
		seen[got] = odd
	}
	for _, bad := range []string{"", strings.Repeat("a", 129), "a\x00", "a\n", "\x7f", "\xff"} {
		if got, err := requestName(bad); err == nil {
			t.Errorf("%q was accepted as %q", bad, got)
		}
	}
}

// FuzzRequestName: whatever a request is called, the volume's name is one that the API server and the node accept, and tells
// the request's name.
func FuzzRequestName(f *testing.F) {
	for _, seed := range []string{"pvc-1", "../../etc/passwd", "a..b", "Ä", strings.Repeat("a", 80), "request-" + strings.Repeat("0", 40)} {
		f.Add(seed, "node-1")
	}
	f.Fuzz(func(t *testing.T, name, node string) {
		request, err := requestName(name)
		if err != nil {
			return
		}
		volume := v1alpha1.VolumeName(request, node)
		if err := volumeid.Check("volume", volume); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if v1alpha1.RequestOfVolume(volume) != request {
			t.Errorf("%q: the request of %s is %q", name, volume, v1alpha1.RequestOfVolume(volume))
		}
	})
}

func TestReadRange(t *testing.T) {
	const gibibyte = 1 << 30
	for name, c := range map[string]struct {
		asked *csi.CapacityRange
		want  sizeRange
		bad   string // the field that is refused
	}{
		"nothing":         {nil, sizeRange{required: gibibyte}, ""},
		"required":        {&csi.CapacityRange{RequiredBytes: 5 * gibibyte}, sizeRange{required: 5 * gibibyte}, ""},
		"both":            {&csi.CapacityRange{RequiredBytes: gibibyte, LimitBytes: gibibyte}, sizeRange{required: gibibyte, limit: gibibyte}, ""},
		"limit above":     {&csi.CapacityRange{LimitBytes: 5 * gibibyte}, sizeRange{required: gibibyte, limit: 5 * gibibyte}, ""},
		"limit below":     {&csi.CapacityRange{LimitBytes: gibibyte / 2}, sizeRange{required: gibibyte / 2, limit: gibibyte / 2}, ""},
		"zero":            {&csi.CapacityRange{}, sizeRange{}, "required_bytes"},
		"negative":        {&csi.CapacityRange{RequiredBytes: -1}, sizeRange{}, "required_bytes"},
		"negative limit":  {&csi.CapacityRange{RequiredBytes: 1, LimitBytes: -1}, sizeRange{}, "limit_bytes"},
		"limit too small": {&csi.CapacityRange{RequiredBytes: 2 * gibibyte, LimitBytes: gibibyte}, sizeRange{}, "limit_bytes"},
		"below minimum":   {&csi.CapacityRange{RequiredBytes: 4096}, sizeRange{}, "required_bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readRange(c.asked, filesystem.Ext4)
			if c.bad != "" {
				if err == nil || !strings.Contains(err.Error(), "capacity_range."+c.bad) {
					t.Errorf("%+v, %v: want a refusal of %s", got, err, c.bad)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("got %+v (%v), want %+v", got, err, c.want)
			}
		})
	}
}

func TestReadTopology(t *testing.T) {
	segment := func(key string, values ...string) []*csi.Topology {
		var list []*csi.Topology
		for _, value := range values {
			list = append(list, &csi.Topology{Segments: map[string]string{key: value}})
		}
		return list
	}
	key := v1alpha1.TopologyKey
	for name, c := range map[string]struct {
		requirement *csi.TopologyRequirement
		nodes       string
		preferred   bool
		bad         bool
	}{
		"none":               {nil, "", false, false},
		"empty":              {&csi.TopologyRequirement{}, "", false, false},
		"first preferred":    {&csi.TopologyRequirement{Preferred: segment(key, "b", "a"), Requisite: segment(key, "a", "b")}, "b", true, false},
		"requisite":          {&csi.TopologyRequirement{Requisite: segment(key, "a", "b")}, "a b", false, false},
		"other key":          {&csi.TopologyRequirement{Preferred: segment("zone", "b")}, "", false, true},
		"no value":           {&csi.TopologyRequirement{Requisite: segment(key, "")}, "", false, true},
		"later ones ignored": {&csi.TopologyRequirement{Preferred: append(segment(key, "a"), segment("zone", "z")...)}, "a", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			nodes, preferred, err := readTopology(c.requirement)
			if (err != nil) != c.bad {
				t.Fatal(err)
			}
			if err == nil && (strings.Join(nodes, " ") != c.nodes || preferred != c.preferred) {
				t.Errorf("got %q, preferred %t", nodes, preferred)
			}
		})
	}
}

func TestCheckCapabilities(t *testing.T) {
	mount := func(fsType string, mode csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
		return &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fsType}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
		}
	}
	block := func() *csi.VolumeCapability {
		return &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		}
	}
	const single = csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	for name, c := range map[string]struct {
		list    []*csi.VolumeCapability
		want    content
		bad     string
		sourced bool
	}{
		"open":                {[]*csi.VolumeCapability{mount("", single)}, content{}, "", false},
		"xfs":                 {[]*csi.VolumeCapability{mount("xfs", single), mount("", csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER)}, content{fsType: filesystem.XFS}, "", false},
		"block":               {[]*csi.VolumeCapability{block(), block()}, content{block: true}, "", false},
		"block and not":       {[]*csi.VolumeCapability{block(), mount("", single)}, content{}, "[1].access_type", false},
		"mount and not":       {[]*csi.VolumeCapability{mount("", single), block()}, content{}, "[1].access_type", false},
		"two":                 {[]*csi.VolumeCapability{mount("xfs", single), mount("ext4", single)}, content{}, "[1].mount.fs_type", false},
		"unknown fs":          {[]*csi.VolumeCapability{mount("ntfs", single)}, content{}, "[0].mount.fs_type", false},
		"no mode":             {[]*csi.VolumeCapability{mount("", csi.VolumeCapability_AccessMode_UNKNOWN)}, content{}, "[0].access_mode", false},
		"no access type":      {[]*csi.VolumeCapability{{AccessMode: block().AccessMode}}, content{}, "[0].access_type", false},
		"nil":                 {[]*csi.VolumeCapability{nil}, content{}, "[0].access_type", false},
		"none":                {nil, content{}, "volume_capabilities", false},
		"reader of nothing":   {[]*csi.VolumeCapability{mount("", csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY)}, content{}, "with a data source", false},
		"readers of nothing":  {[]*csi.VolumeCapability{mount("", single), mount("", csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY)}, content{}, "[1].access_mode", false},
		"readers of a source": {[]*csi.VolumeCapability{mount("", csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY)}, content{}, "", true},
		"writers of a source": {[]*csi.VolumeCapability{mount("", csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)}, content{}, "SINGLE_NODE_MULTI_WRITER", true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := checkCapabilities(c.list, c.sourced)
			if c.bad != "" {
				if err == nil || !strings.Contains(err.Error(), c.bad) {
					t.Errorf("%v: want a refusal of %s", err, c.bad)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("got %+v (%v)", got, err)
			}
		})
	}
}

// TestReadClass: what the format is made of.
func TestReadClass(t *testing.T) {
	mount := func(fsType string) *csi.VolumeCapability {
		return &csi.VolumeCapability{AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fsType}}}
	}
	for name, c := range map[string]struct {
		asked      content
		parameters map[string]string
		want       filesystem.Format
		bad        string
	}{
		"nothing":           {content{}, nil, filesystem.Format{Type: filesystem.Ext4}, ""},
		"capability":        {content{fsType: filesystem.XFS}, nil, filesystem.Format{Type: filesystem.XFS}, ""},
		"class":             {content{}, map[string]string{v1alpha1.ParameterFSType: "xfs"}, filesystem.Format{Type: filesystem.XFS}, ""},
		"both differ":       {content{fsType: filesystem.Ext4}, map[string]string{v1alpha1.ParameterFSType: "xfs"}, filesystem.Format{}, v1alpha1.ParameterFSType},
		"options":           {content{fsType: filesystem.XFS}, map[string]string{v1alpha1.ParameterMkfsOptions: "-i size=1024"}, filesystem.Format{Type: filesystem.XFS, Options: []string{"-i", "size=1024"}}, ""},
		"block":             {content{block: true}, map[string]string{v1alpha1.ParameterMkfsOptions: "-i size=1024", v1alpha1.ParameterFSType: "xfs"}, filesystem.Format{}, ""},
		"block, bad class":  {content{block: true}, map[string]string{"csi-dm.io/colour": "blue"}, filesystem.Format{}, "csi-dm.io/colour"},
		"block, other type": {content{block: true}, map[string]string{v1alpha1.ParameterFSType: "btrfs"}, filesystem.Format{}, "btrfs"},
	} {
		t.Run(name, func(t *testing.T) {
			class, err := readClass(&csi.CreateVolumeRequest{Parameters: c.parameters, VolumeCapabilities: []*csi.VolumeCapability{mount("")}}, c.asked)
			if c.bad != "" {
				if err == nil || !strings.Contains(err.Error(), c.bad) {
					t.Errorf("%v: want a refusal of %s", err, c.bad)
				}
				return
			}
			if err != nil || class.Format.Type != c.want.Type || !slices.Equal(class.Format.Options, c.want.Options) {
				t.Errorf("got %+v (%v)", class, err)
			}
		})
	}
}

// TestCheckMountOptions: what the node would refuse to mount with is refused while the claim is still pending.
func TestCheckMountOptions(t *testing.T) {
	with := func(flags ...string) *csi.VolumeCapability {
		return &csi.VolumeCapability{AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{MountFlags: flags}}}
	}
	for _, fsType := range filesystem.Types {
		if err := checkMountOptions([]*csi.VolumeCapability{with(), with("noatime", "discard")}, fsType); err != nil {
			t.Errorf("%s: %v", fsType, err)
		}
	}
	for _, bad := range []string{"init_itable", "errors=panic", "noatime,exec", "logbufs=4"} {
		err := checkMountOptions([]*csi.VolumeCapability{with("noatime"), with(bad)}, filesystem.Ext4)
		if err == nil || !strings.Contains(err.Error(), "volume_capabilities[1].mount.mount_flags") || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), "allowed are") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
