package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller"
	"github.com/csi-dm/csi-dm/pkg/filesystem"
	"github.com/csi-dm/csi-dm/pkg/node"
)

// TestFieldsAreDescribed: each field of the kinds stands in docs/parameters.md.
func TestFieldsAreDescribed(t *testing.T) {
	text := read(t, "docs/parameters.md")
	seen := 0
	for _, kind := range []any{
		v1alpha1.ThinPoolSpec{}, v1alpha1.ThinPoolStatus{}, v1alpha1.NodeThinPoolSpec{}, v1alpha1.NodeThinPoolStatus{},
		v1alpha1.ThinVolumeSpec{}, v1alpha1.ThinVolumeStatus{}, v1alpha1.PoolSource{}, v1alpha1.LoopbackSource{},
	} {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(kind)) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name == "" || name == "observedGeneration" {
				continue // embedded, or of no use to a reader
			}
			seen++
			if !strings.Contains(text, name+"`") && !strings.Contains(text, "`"+name+".") {
				t.Errorf("%T: field %s is not described", kind, name)
			}
		}
	}
	for _, parameter := range []string{v1alpha1.ParameterPool, v1alpha1.ParameterFSType, v1alpha1.ParameterMkfsOptions} {
		if !strings.Contains(text, "`"+parameter+"`") {
			t.Errorf("StorageClass parameter %s is not described", parameter)
		}
	}
	if seen < 30 {
		t.Errorf("only %d fields were seen", seen)
	}
}

// TestFlagsAreDescribed: each flag, with its default.
func TestFlagsAreDescribed(t *testing.T) {
	text := read(t, "docs/parameters.md")
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	nodeOptions, controllerOptions := node.DefaultOptions(), controller.DefaultOptions()
	nodeOptions.AddFlags(flags)
	more := pflag.NewFlagSet("", pflag.ContinueOnError)
	controllerOptions.AddFlags(more)
	for _, set := range []*pflag.FlagSet{flags, more} {
		set.VisitAll(func(flag *pflag.Flag) {
			if !strings.Contains(text, "`--"+flag.Name+"`") {
				t.Errorf("--%s is not described", flag.Name)
			}
		})
	}
}

// TestOptionsAreDescribed: each option that the allow-lists name in their refusals.
func TestOptionsAreDescribed(t *testing.T) {
	text := read(t, "docs/parameters.md")
	for _, fsType := range filesystem.Types {
		_, err := filesystem.ParseMountOptions(fsType, []string{"no-such-option"})
		_, allowed, found := strings.Cut(err.Error(), "; allowed are ")
		if !found {
			t.Fatalf("%s: the refusal does not list what is allowed: %v", fsType, err)
		}
		for _, option := range strings.Fields(allowed) {
			if !strings.Contains(text, "`"+option) {
				t.Errorf("%s: mount option %s is not described", fsType, option)
			}
		}
		_, err = filesystem.ParseMkfsOptions(fsType, "--no-such-option")
		_, allowed, found = strings.Cut(err.Error(), "; allowed are ")
		if !found {
			t.Fatalf("%s: the refusal does not list what is allowed: %v", fsType, err)
		}
		for _, option := range strings.Split(allowed, "; ") {
			name, _, _ := strings.Cut(option, " ")
			if !strings.Contains(text, "`"+name+"`") {
				t.Errorf("%s: mkfs option %s is not described", fsType, name)
			}
		}
	}
}

// TestReasonsAreDescribed: each reason that a condition can have stands in docs/operations.md.
func TestReasonsAreDescribed(t *testing.T) {
	text := read(t, "docs/operations.md")
	seen := 0
	for _, pattern := range []string{"api/v1alpha1/*.go", "pkg/node/agent/*.go", "pkg/controller/lifecycle/*.go"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			for name, value := range constants(t, path) {
				if strings.HasPrefix(name, "Reason") || strings.HasPrefix(name, "reason") {
					seen++
					if !strings.Contains(text, value) {
						t.Errorf("reason %s is not described", value)
					}
				}
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d reasons were seen", seen)
	}
}

// constants are the constants of a file that are set to a text.
func constants(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			if i >= len(spec.Values) {
				break
			}
			if literal, ok := spec.Values[i].(*ast.BasicLit); ok && literal.Kind == token.STRING {
				if value, err := strconv.Unquote(literal.Value); err == nil {
					found[name.Name] = value
				}
			}
		}
		return false
	})
	return found
}
