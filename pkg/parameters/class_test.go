package parameters

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		parameters map[string]string
		want       Class
	}{
		"nothing": {nil, Class{Pool: "default"}},
		"pool":    {map[string]string{v1alpha1.ParameterPool: "fast"}, Class{Pool: "fast"}},
		"file system": {map[string]string{v1alpha1.ParameterFSType: "xfs"},
			Class{Pool: "default", Format: filesystem.Format{Type: filesystem.XFS}}},
		"options for the default": {map[string]string{v1alpha1.ParameterMkfsOptions: "-m 1"},
			Class{Pool: "default", Format: filesystem.Format{Options: []string{"-m", "1"}}}},
		"options for the file system named": {map[string]string{v1alpha1.ParameterFSType: "xfs", v1alpha1.ParameterMkfsOptions: "-i size=1024"},
			Class{Pool: "default", Format: filesystem.Format{Type: filesystem.XFS, Options: []string{"-i", "size=1024"}}}},
		"root mode": {map[string]string{v1alpha1.ParameterRootMode: "2770"}, Class{Pool: "default", RootMode: 0o2770}},
		"claim": {map[string]string{keyClaimName: "data", keyClaimNamespace: "shop", keyVolumeName: "pvc-1"},
			Class{Pool: "default", Claim: Claim{Namespace: "shop", Name: "data", PersistentVolume: "pvc-1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(c.parameters, filesystem.Ext4)
			if err != nil {
				t.Fatal(err)
			}
			if got.Pool != c.want.Pool || got.RootMode != c.want.RootMode || got.Claim != c.want.Claim || got.Format.Type != c.want.Format.Type ||
				!slices.Equal(got.Format.Options, c.want.Format.Options) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		parameters map[string]string
		words      []string
	}{
		"unknown key":            {map[string]string{"csi-dm.io/colour": "blue"}, []string{"csi-dm.io/colour", v1alpha1.ParameterPool, v1alpha1.ParameterMkfsOptions, v1alpha1.ParameterFSType}},
		"key in other case":      {map[string]string{"csi-dm.io/Pool": "a"}, []string{"csi-dm.io/Pool"}},
		"empty pool":             {map[string]string{v1alpha1.ParameterPool: ""}, []string{v1alpha1.ParameterPool}},
		"hostile pool":           {map[string]string{v1alpha1.ParameterPool: "../../etc"}, []string{v1alpha1.ParameterPool, "../../etc", "lower-case"}},
		"file system":            {map[string]string{v1alpha1.ParameterFSType: "btrfs"}, []string{v1alpha1.ParameterFSType, "btrfs", "ext4", "xfs"}},
		"options of another one": {map[string]string{v1alpha1.ParameterMkfsOptions: "-i size=1024"}, []string{v1alpha1.ParameterMkfsOptions, "-i"}},
		"root mode":              {map[string]string{v1alpha1.ParameterRootMode: "u+w"}, []string{v1alpha1.ParameterRootMode, "u+w", "octal"}},
		"set user id":            {map[string]string{v1alpha1.ParameterRootMode: "4755"}, []string{v1alpha1.ParameterRootMode, "4755", "3777"}},
		"device as option":       {map[string]string{v1alpha1.ParameterMkfsOptions: "-F /dev/sda"}, []string{v1alpha1.ParameterMkfsOptions, "-F"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(c.parameters, filesystem.Ext4)
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
		})
	}
}

// FuzzParse: whatever an admin writes, what is accepted is of the fixed patterns.
func FuzzParse(f *testing.F) {
	f.Add(v1alpha1.ParameterPool, "fast", "-m 1")
	f.Add(v1alpha1.ParameterFSType, "xfs", "-i size=1024")
	f.Add("x", "../..", "-F;rm")
	f.Fuzz(func(t *testing.T, key, value, options string) {
		class, err := Parse(map[string]string{key: value, v1alpha1.ParameterMkfsOptions: options}, filesystem.Ext4)
		if err != nil {
			return
		}
		if err := volumeid.CheckPool("pool", class.Pool); err != nil {
			t.Errorf("accepted: %v", err)
		}
		if class.Format.Type != "" && !slices.Contains(filesystem.Types, class.Format.Type) {
			t.Errorf("accepted file system %q", class.Format.Type)
		}
		for _, option := range class.Format.Options {
			if strings.ContainsAny(option, "/;$` \n\x00") {
				t.Errorf("accepted mkfs option %q", option)
			}
		}
	})
}
