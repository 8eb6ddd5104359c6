package parameters

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

const gib = int64(1 << 30)

// podInfo is what kubelet sends with each inline volume.
func podInfo(attributes map[string]string) map[string]string {
	all := map[string]string{
		keyPodName: "web-0", keyPodNamespace: "shop", keyPodUID: "0a1b", keyServiceAccount: "default", keyEphemeral: "true",
	}
	maps.Copy(all, attributes)
	return all
}

func TestIsInline(t *testing.T) {
	for _, c := range []struct {
		attributes map[string]string
		want       bool
		refused    bool
	}{
		{nil, false, false},
		{map[string]string{keyEphemeral: "false"}, false, false},
		{map[string]string{keyEphemeral: "true"}, true, false},
		{map[string]string{keyEphemeral: ""}, false, true},
		{map[string]string{keyEphemeral: "TRUE"}, false, true},
	} {
		if got, err := IsInline(c.attributes); got != c.want || (err != nil) != c.refused {
			t.Errorf("%v: %t, %v", c.attributes, got, err)
		}
	}
}

func TestParseInline(t *testing.T) {
	for name, c := range map[string]struct {
		attributes map[string]string
		fsType     filesystem.Type
		want       Inline
	}{
		"a size": {map[string]string{v1alpha1.AttributeSize: "1Gi"}, "",
			Inline{Pool: "default", Size: gib, Format: filesystem.Format{Type: filesystem.Ext4}}},
		"the limit itself": {map[string]string{v1alpha1.AttributeSize: "4096Mi"}, "",
			Inline{Pool: "default", Size: 4 * gib, Format: filesystem.Format{Type: filesystem.Ext4}}},
		"pool and file system": {map[string]string{v1alpha1.AttributeSize: "0.5Gi", v1alpha1.ParameterPool: "fast", v1alpha1.ParameterFSType: "xfs"}, "",
			Inline{Pool: "fast", Size: gib / 2, Format: filesystem.Format{Type: filesystem.XFS}}},
		"the pod's own field": {map[string]string{v1alpha1.AttributeSize: "1Gi", v1alpha1.ParameterMkfsOptions: "-i size=1024"}, filesystem.XFS,
			Inline{Pool: "default", Size: gib, Format: filesystem.Format{Type: filesystem.XFS, Options: []string{"-i", "size=1024"}}}},
		"both the same": {map[string]string{v1alpha1.AttributeSize: "1G", v1alpha1.ParameterFSType: "xfs"}, filesystem.XFS,
			Inline{Pool: "default", Size: 1e9, Format: filesystem.Format{Type: filesystem.XFS}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseInline(podInfo(c.attributes), c.fsType, 4*gib)
			if err != nil {
				t.Fatal(err)
			}
			if got.Pool != c.want.Pool || got.Size != c.want.Size || got.PodUID != "0a1b" || got.Format.Type != c.want.Format.Type ||
				!slices.Equal(got.Format.Options, c.want.Format.Options) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestParseInlineRefuses(t *testing.T) {
	size := func(text string) map[string]string { return map[string]string{v1alpha1.AttributeSize: text} }
	with := func(key, value string) map[string]string {
		return map[string]string{v1alpha1.AttributeSize: "1Gi", key: value}
	}
	for name, c := range map[string]struct {
		attributes map[string]string
		fsType     filesystem.Type
		words      []string
	}{
		"no size":                {nil, "", []string{v1alpha1.AttributeSize, "1Gi", "4Gi"}},
		"empty size":             {size(""), "", []string{v1alpha1.AttributeSize}},
		"nothing":                {size("0"), "", []string{v1alpha1.AttributeSize, `"0"`}},
		"negative":               {size("-1Gi"), "", []string{v1alpha1.AttributeSize, "-1Gi"}},
		"above the limit":        {size("4097Mi"), "", []string{v1alpha1.AttributeSize, "4097Mi", "4Gi"}},
		"above an int64":         {size("999999999999999999Pi"), "", []string{v1alpha1.AttributeSize}},
		"exponent without end":   {size("1e999999999"), "", []string{v1alpha1.AttributeSize}},
		"long":                   {size(strings.Repeat("1", 10<<10)), "", []string{v1alpha1.AttributeSize}},
		"no number":              {size("1Gi,2Gi"), "", []string{v1alpha1.AttributeSize}},
		"unknown attribute":      {with("csi-dm.io/colour", "blue"), "", []string{"csi-dm.io/colour", v1alpha1.AttributeSize, v1alpha1.ParameterPool, v1alpha1.ParameterMkfsOptions, v1alpha1.ParameterFSType}},
		"long attribute":         {with(strings.Repeat("a", 10<<10), "blue"), "", []string{"aaaa", v1alpha1.AttributeSize}},
		"a class's key":          {with(keyClaimName, "data"), "", []string{keyClaimName}},
		"tokens":                 {with("csi.storage.k8s.io/serviceAccount.tokens", "{}"), "", []string{"tokens"}},
		"hostile pool":           {with(v1alpha1.ParameterPool, "../../etc"), "", []string{v1alpha1.ParameterPool}},
		"empty pool":             {with(v1alpha1.ParameterPool, ""), "", []string{v1alpha1.ParameterPool}},
		"file system":            {with(v1alpha1.ParameterFSType, "vfat"), "", []string{v1alpha1.ParameterFSType, "vfat", "ext4", "xfs"}},
		"two file systems":       {with(v1alpha1.ParameterFSType, "ext4"), filesystem.XFS, []string{v1alpha1.ParameterFSType, "ext4", "xfs"}},
		"options of another one": {with(v1alpha1.ParameterMkfsOptions, "-m 1"), filesystem.XFS, []string{v1alpha1.ParameterMkfsOptions, "-m"}},
		"device as option":       {with(v1alpha1.ParameterMkfsOptions, "-F /dev/sda"), "", []string{v1alpha1.ParameterMkfsOptions, "-F"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseInline(podInfo(c.attributes), c.fsType, 4*gib)
			var bad *Error
			var unknown *UnknownKeyError
			var id *volumeid.Error
			if !errors.As(err, &bad) && !errors.As(err, &unknown) && !errors.As(err, &id) {
				t.Fatalf("error is %T %v", err, err)
			}
			for _, word := range c.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("the refusal does not say %q: %v", word, err)
				}
			}
			if len(err.Error()) > 2000 {
				t.Errorf("the refusal has %d bytes", len(err.Error()))
			}
		})
	}
}

// FuzzParseInline: whatever a pod's author writes, what is accepted is of the fixed patterns and within the limit.
func FuzzParseInline(f *testing.F) {
	f.Add(v1alpha1.ParameterPool, "fast", "1Gi")
	f.Add(v1alpha1.ParameterMkfsOptions, "-m 1", "0.5Gi")
	f.Add("x", "../..", "1e999999999")
	f.Fuzz(func(t *testing.T, key, value, size string) {
		inline, err := ParseInline(podInfo(map[string]string{v1alpha1.AttributeSize: size, key: value}), "", 4*gib)
		if err != nil {
			return
		}
		if inline.Size <= 0 || inline.Size > 4*gib {
			t.Errorf("accepted %d bytes", inline.Size)
		}
		if err := volumeid.CheckPool("pool", inline.Pool); err != nil {
			t.Errorf("accepted: %v", err)
		}
		if !slices.Contains(filesystem.Types, inline.Format.Type) {
			t.Errorf("accepted file system %q", inline.Format.Type)
		}
		for _, option := range inline.Format.Options {
			if strings.ContainsAny(option, "/;$` \n\x00") {
				t.Errorf("accepted mkfs option %q", option)
			}
		}
	})
}
