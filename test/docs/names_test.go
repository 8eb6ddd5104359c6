package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var (
	testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]*)\(`)
	testName     = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9_]*)(?:/[A-Za-z0-9_]+)?(…?)`|RUN='?((?:Test|Fuzz)[A-Z][A-Za-z0-9_|]*)")
	makeTarget   = regexp.MustCompile(`(?m)^([a-z0-9-]+):`)
	makeCommand  = regexp.MustCompile("(?m)(?:`|^    )make ([a-z0-9-]+)")
	chartValue   = regexp.MustCompile("`((?:node|controller|sidecars)\\.[A-Za-z.]+)[`:]")
	packagePath  = regexp.MustCompile("[`(]((?:pkg|test|cmd|api|hack)/[a-z0-9/-]+)[`),]")
)

// TestNamedTestsExist: a document that says which test shows something must not outlive the test. TestX… stands for all that
// begin so, as does RUN=TestX.
func TestNamedTestsExist(t *testing.T) {
	var functions []string
	for _, text := range sources(t, "_test.go") {
		for _, match := range testFunction.FindAllStringSubmatch(text, -1) {
			functions = append(functions, match[1])
		}
	}
	exists := func(name string, beginning bool) bool {
		for _, function := range functions {
			if function == name || beginning && strings.HasPrefix(function, name) {
				return true
			}
		}
		return false
	}
	seen := 0
	for document, text := range documents(t) {
		for _, match := range testName.FindAllStringSubmatch(text, -1) {
			for _, name := range strings.Split(match[1]+match[3], "|") {
				seen++
				if !exists(name, match[2] != "" || match[3] != "") {
					t.Errorf("%s names %s, which does not exist", document, name)
				}
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d names of tests were seen", seen)
	}
}

func TestNamedTargetsExist(t *testing.T) {
	targets := map[string]bool{}
	for _, text := range append([]string{read(t, "Makefile")}, textsOf(sources(t, ".mk"))...) {
		for _, match := range makeTarget.FindAllStringSubmatch(text, -1) {
			targets[match[1]] = true
		}
	}
	for document, text := range documents(t) {
		for _, match := range makeCommand.FindAllStringSubmatch(text, -1) {
			if !targets[match[1]] {
				t.Errorf("%s says make %s: there is no such target", document, match[1])
			}
		}
	}
}

func TestNamedPackagesExist(t *testing.T) {
	seen := 0
	for document, text := range documents(t) {
		for _, match := range packagePath.FindAllStringSubmatch(text, -1) {
			seen++
			if _, err := os.Stat(filepath.Join(root, strings.TrimSuffix(match[1], "/"))); err != nil {
				t.Errorf("%s names %s: %v", document, match[1], err)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d packages were seen", seen)
	}
}

func TestNamedValuesExist(t *testing.T) {
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(read(t, "charts/csi-dm/values.yaml")), &tree); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for document, text := range documents(t) {
		for _, match := range chartValue.FindAllStringSubmatch(text, -1) {
			seen++
			var at any = tree
			for _, key := range strings.Split(match[1], ".") {
				branch, _ := at.(map[string]any)
				value, known := branch[key]
				if !known {
					t.Errorf("%s names the value %s: the chart has no %s", document, match[1], key)
					break
				}
				at = value
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d values were seen", seen)
	}
}

// outside matches what no file of the repository may name.
var outside = regexp.MustCompile(`\b[A-Z]{3,}\.md\b`)

// TestNamedDocumentsExist: a comment that refers to a document refers to one that is in the repository.
func TestNamedDocumentsExist(t *testing.T) {
	for name, text := range sources(t, ".go", ".mk", ".sh", ".yaml", ".md") {
		if strings.HasPrefix(name, "test/docs/") {
			continue
		}
		for _, document := range outside.FindAllString(text, -1) {
			if _, err := os.Stat(filepath.Join(root, document)); err != nil {
				t.Errorf("%s names %s, which is not in the repository", name, document)
			}
		}
	}
}

func textsOf(texts map[string]string) []string {
	var list []string
	for _, text := range texts {
		list = append(list, text)
	}
	return list
}
