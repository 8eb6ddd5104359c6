//go:build e2e

package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - level: Metadata
    verbs: [create, update, patch, delete, deletecollection]
`

// write is one write that the API server was asked for.
type write struct {
	Verb      string `json:"verb"`
	UserAgent string `json:"userAgent"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

func (w write) String() string {
	resource := w.ObjectRef.Resource
	if w.ObjectRef.Subresource != "" {
		resource += "/" + w.ObjectRef.Subresource
	}
	return fmt.Sprintf("%s %s %s (%d)", w.Verb, resource, w.ObjectRef.Name, w.ResponseStatus.Code)
}

// writes are the writes of a resource that the audit log has, those of one object if name is not empty, in their order.
func writes(t *testing.T, resource, name string) []write {
	t.Helper()
	file, err := os.Open(suite.auditLog)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var found []write
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var w write
		if err := json.Unmarshal(scanner.Bytes(), &w); err != nil {
			t.Fatalf("audit log: %v", err)
		}
		if w.ObjectRef.Resource == resource && (name == "" || w.ObjectRef.Name == name) {
			found = append(found, w)
		}
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

func describe(writes []write) string {
	lines := make([]string, len(writes))
	for i, w := range writes {
		lines[i] = w.String()
	}
	return strings.Join(lines, "\n")
}
