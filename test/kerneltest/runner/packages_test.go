package runner

import (
	"errors"
	"path"
	"testing"
)

func TestFindPackages(t *testing.T) {
	found, err := findPackages(t.Context(), []string{"./testdata/passing", "./testdata/failing", "./testdata/passing"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, one := range found {
		names = append(names, path.Base(one.ImportPath))
	}
	if len(names) != 2 || names[0] != "passing" || names[1] != "failing" {
		t.Errorf("got %q", names)
	}
	for _, pattern := range []string{"./testdata/without", "./testdata/without/..."} {
		if _, err := findPackages(t.Context(), []string{pattern}); !errors.Is(err, ErrNoKernelTests) {
			t.Errorf("%s: got %v, want ErrNoKernelTests", pattern, err)
		}
	}
	if _, err := findPackages(t.Context(), []string{"./testdata/nonexistent"}); err == nil {
		t.Error("a missing package was found")
	}
}
