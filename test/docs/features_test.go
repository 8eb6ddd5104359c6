package docs

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

const featuresDocument = "docs/features.md"

var (
	namedTest   = regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9_]*)(?:/[^`]+)?`")
	namedFolder = regexp.MustCompile(`\(((?:test|pkg|cmd)/[a-z0-9/-]+)\)`)
	rowCommand  = regexp.MustCompile("`make (kernel-test|api-test|e2e-test|chart-test|unit-test|fuzz)([^`]*)`")
	runArgument = regexp.MustCompile(`RUN='?([^\s']+)`)
)

// featureRow is a row of the table, taken apart.
type featureRow struct {
	feature string
	// tests are the names, by the folder that the row says they are in.
	tests    map[string][]string
	commands []featureCommand
}

type featureCommand struct {
	target, text string
	run          *regexp.Regexp
}

// folders where a make target finds tests: a row whose test is elsewhere names a command that does not run it.
var folders = map[string]string{
	"kernel-test": `^(pkg|cmd)/`, "unit-test": `^(pkg|cmd|test)/`, "fuzz": `^(pkg|cmd|test)/`, "api-test": `^test/api$`, "e2e-test": `^test/e2e$`, "chart-test": `^test/chart$`,
}

// TestFeatures: each row names at least one test; each test named is in the folder that the row says, and a command of the row
// runs it; each command runs a test of its row.
func TestFeatures(t *testing.T) {
	functions := map[string]map[string]bool{}
	for file, text := range sources(t, "_test.go") {
		folder := path.Dir(file)
		if functions[folder] == nil {
			functions[folder] = map[string]bool{}
		}
		for _, match := range testFunction.FindAllStringSubmatch(text, -1) {
			functions[folder][match[1]] = true
		}
	}
	rows := featureRows(t)
	if len(rows) < 5 {
		t.Fatalf("only %d rows were seen", len(rows))
	}
	for _, row := range rows {
		used := map[string]bool{}
		if len(row.tests) == 0 {
			t.Errorf("%s: the row names no test and its folder", row.feature)
		}
		for folder, names := range row.tests {
			for _, name := range names {
				if !functions[folder][name] {
					t.Errorf("%s: there is no %s in %s", row.feature, name, folder)
				}
				if command := row.runs(folder, name); command != "" {
					used[command] = true
				} else {
					t.Errorf("%s: no command of the row runs %s of %s", row.feature, name, folder)
				}
			}
		}
		for _, command := range row.commands {
			if !used[command.text] {
				t.Errorf("%s: %q runs no test of the row", row.feature, command.text)
			}
		}
	}
}

// runs gives the command of the row that runs a test, or nothing.
func (r *featureRow) runs(folder, name string) string {
	for _, command := range r.commands {
		if regexp.MustCompile(folders[command.target]).MatchString(folder) && command.run.MatchString(name) &&
			(command.target != "kernel-test" || strings.Contains(command.text, "./"+folder)) {
			return command.text
		}
	}
	return ""
}

func featureRows(t *testing.T) []featureRow {
	t.Helper()
	var rows []featureRow
	for line := range strings.Lines(read(t, featuresDocument)) {
		// A bar within a cell is written \|.
		cells := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), `\|`, "\x00"), "|")
		if len(cells) != 6 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "feature" {
			if strings.HasPrefix(line, "|") && len(cells) != 6 {
				t.Errorf("a row of %s has %d cells, not 4: %s", featuresDocument, len(cells)-2, line)
			}
			continue
		}
		row := featureRow{feature: strings.TrimSpace(cells[1]), tests: map[string][]string{}}
		rest := cells[3]
		for _, place := range namedFolder.FindAllStringSubmatchIndex(cells[3], -1) {
			// The folder follows the tests that are in it.
			before := rest[:place[0]-(len(cells[3])-len(rest))]
			folder := cells[3][place[2]:place[3]]
			for _, match := range namedTest.FindAllStringSubmatch(before, -1) {
				row.tests[folder] = append(row.tests[folder], match[1])
			}
			rest = cells[3][place[1]:]
		}
		if namedTest.MatchString(rest) {
			t.Errorf("%s: no folder follows the tests in %q", row.feature, rest)
		}
		for _, match := range rowCommand.FindAllStringSubmatch(strings.ReplaceAll(cells[4], "\x00", "|"), -1) {
			pattern := "."
			if run := runArgument.FindStringSubmatch(match[2]); run != nil {
				pattern = run[1]
			}
			row.commands = append(row.commands, featureCommand{match[1], match[0], regexp.MustCompile(pattern)})
		}
		rows = append(rows, row)
	}
	return rows
}
