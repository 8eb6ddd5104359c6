//go:build chart

package chart

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const folder = "../../charts/csi-dm"

// kubeVersion is what is rendered for unless a test says otherwise.
const kubeVersion = "1.37.1"

// template runs helm template for a release called "release", with values as YAML.
func template(t *testing.T, values string, arguments ...string) (string, error) {
	t.Helper()
	return templateAs(t, "release", values, arguments...)
}

func templateAs(t *testing.T, release, values string, arguments ...string) (string, error) {
	t.Helper()
	program := os.Getenv("HELM")
	if program == "" {
		t.Fatal("HELM must name the helm program: run make chart-test")
	}
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), program, append([]string{
		"template", release, folder, "--namespace", "space", "--kube-version", kubeVersion, "--values", file,
	}, arguments...)...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, stderr.String())
	}
	return stdout.String(), nil
}

// objects are what the chart renders.
type objects struct {
	t    *testing.T
	list []*unstructured.Unstructured
}

func render(t *testing.T, values string, arguments ...string) objects {
	t.Helper()
	output, err := template(t, values, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, output)
}

func parse(t *testing.T, output string) objects {
	t.Helper()
	rendered := objects{t: t}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(output)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return rendered
		}
		if err != nil {
			t.Fatal(err)
		}
		object := &unstructured.Unstructured{}
		// Strict: helm lets a key pass that is there twice, kubectl does not.
		if err := yaml.UnmarshalStrict(document, &object.Object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if len(object.Object) > 0 {
			rendered.list = append(rendered.list, object)
		}
	}
}

// get reads an object into a typed one; a field that its type does not have is an error.
func (o objects) get(kind, name string, into any) {
	o.t.Helper()
	for _, object := range o.list {
		if object.GetKind() != kind || object.GetName() != name {
			continue
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, into, true); err != nil {
			o.t.Fatalf("%s %s: %v", kind, name, err)
		}
		return
	}
	o.t.Fatalf("the chart renders no %s %s", kind, name)
}

func (o objects) has(kind, name string) bool {
	for _, object := range o.list {
		if object.GetKind() == kind && object.GetName() == name {
			return true
		}
	}
	return false
}
