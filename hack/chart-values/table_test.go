package main

import "testing"

func TestTable(t *testing.T) {
	got, err := Table([]byte(`# Of the file.

# First value,
# with a | in two lines.
first: 1
group:
  # Inside.
  second: ""
  resources: {limits: {memory: 1Gi}}
empty: {}
`))
	want := "| value | default | |\n|---|---|---|\n" +
		"| `first` | `1` | First value, with a \\| in two lines. |\n" +
		"| `group.second` | `\"\"` | Inside. |\n" +
		"| `group.resources` | `{\"limits\":{\"memory\":\"1Gi\"}}` |  |\n" +
		"| `empty` | `{}` |  |\n"
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
	if _, err := Table([]byte("- a list")); err == nil {
		t.Error("a list was accepted")
	}
}
