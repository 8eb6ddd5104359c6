package sanity

import (
	"slices"
	"testing"
)

func TestParseReport(t *testing.T) {
	const report = `[{"SuiteDescription": "CSI Driver Test Suite", "SpecReports": [
		{"ContainerHierarchyTexts": null, "LeafNodeType": "BeforeSuite", "LeafNodeText": "", "State": "passed"},
		{"ContainerHierarchyTexts": ["Node Service", "NodeGetInfo"], "LeafNodeType": "It", "LeafNodeText": "should return values", "State": "passed"},
		{"ContainerHierarchyTexts": ["Node Service"], "LeafNodeType": "It", "LeafNodeText": "should work", "State": "skipped",
			"Failure": {"Message": "not supported", "Location": {"FileName": "node.go", "LineNumber": 7}}}]}]`
	cases, err := parseReport([]byte(report))
	if err != nil {
		t.Fatal(err)
	}
	want := []Case{
		{Name: "Node Service: NodeGetInfo: should return values", State: Passed},
		{Name: "Node Service: should work", State: Skipped, Message: "not supported (node.go:7)"},
	}
	if !slices.Equal(cases, want) {
		t.Errorf("got %+v", cases)
	}
	for _, bad := range []string{"", "{}", "[]", "[{},{}]"} {
		if _, err := parseReport([]byte(bad)); err == nil {
			t.Errorf("%q passed for a report", bad)
		}
	}
}
