//go:build e2e

package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// applyChart applies what some of the chart's templates give.
func applyChart(ctx context.Context, templates ...string) error {
	arguments := []string{"template", "csi-dm", filepath.Join(suite.repository, "charts", "csi-dm"), "--namespace", namespace, "--kube-version", "1.37.1"}
	for _, name := range templates {
		arguments = append(arguments, "--show-only", name)
	}
	command := exec.CommandContext(ctx, suite.helm, arguments...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		return fmt.Errorf("helm template: %w\n%s", err, stderr.String())
	}
	return applyYAML(ctx, suite.WithWatch, output)
}

// applyYAML applies documents, as kubectl apply --server-side would: fields that the API server does not know are refused.
func applyYAML(ctx context.Context, writer client.Client, content []byte) error {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(object.Object) == 0 {
			continue
		}
		writer := client.WithFieldValidation(writer, "Strict")
		if err := writer.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("test"), client.ForceOwnership); err != nil {
			return err
		}
	}
}
