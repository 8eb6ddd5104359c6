package sanity

import (
	"encoding/json"
	"fmt"
	"strings"
)

// State is what became of a case, in Ginkgo's words.
type State string

// Passed and the two states in which a case did not run. Every other one is a failure.
const (
	Passed  State = "passed"
	Skipped State = "skipped"
	// Pending is a case that csi-sanity itself has switched off.
	Pending State = "pending"
)

// Case is one of csi-sanity's.
type Case struct {
	// Name is the case's with those of the groups that it is in, outermost first.
	Name  string
	State State
	// Message says why it was skipped or failed.
	Message string
}

// parseReport reads Ginkgo's report in JSON: one suite, whose specs are the cases. Hooks of the suite are no cases.
func parseReport(text []byte) ([]Case, error) {
	var suites []struct {
		SpecReports []struct {
			ContainerHierarchyTexts []string
			LeafNodeText            string
			LeafNodeType            string
			State                   State
			Failure                 struct {
				Message  string
				Location struct {
					FileName   string
					LineNumber int
				}
			}
		}
	}
	if err := json.Unmarshal(text, &suites); err != nil {
		return nil, fmt.Errorf("csi-sanity's report: %w", err)
	}
	if len(suites) != 1 {
		return nil, fmt.Errorf("csi-sanity's report has %d suites, want 1", len(suites))
	}
	var cases []Case
	for _, spec := range suites[0].SpecReports {
		if spec.LeafNodeType != "It" {
			continue
		}
		c := Case{Name: strings.Join(append(spec.ContainerHierarchyTexts, spec.LeafNodeText), ": "), State: spec.State, Message: spec.Failure.Message}
		if place := spec.Failure.Location; place.FileName != "" {
			c.Message += fmt.Sprintf(" (%s:%d)", place.FileName, place.LineNumber)
		}
		cases = append(cases, c)
	}
	return cases, nil
}
