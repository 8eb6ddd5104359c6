package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Table is a Markdown table of values: each leaf's path, its default and the comment above it. A map that is empty by
// default is a leaf.
func Table(values []byte) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(values, &document); err != nil {
		return nil, err
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("values are no map")
	}
	var table bytes.Buffer
	fmt.Fprint(&table, "| value | default | |\n|---|---|---|\n")
	err := rows(&table, "", document.Content[0])
	return table.Bytes(), err
}

func rows(table *bytes.Buffer, prefix string, mapping *yaml.Node) error {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		path := prefix + key.Value
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && !leaf(key.Value) {
			if err := rows(table, path+".", value); err != nil {
				return err
			}
			continue
		}
		var content any
		if err := value.Decode(&content); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		text, err := json.Marshal(content)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		fmt.Fprintf(table, "| `%s` | `%s` | %s |\n", path, text, strings.ReplaceAll(comment(key), "|", "\\|"))
	}
	return nil
}

// leaf tells which maps are one value to an admin.
func leaf(key string) bool { return key == "resources" }

// comment is the last paragraph above a key: one that stands apart belongs to the file.
func comment(key *yaml.Node) string {
	paragraphs := strings.Split(key.HeadComment, "\n\n")
	var words []string
	for _, line := range strings.Split(paragraphs[len(paragraphs)-1], "\n") {
		words = append(words, strings.TrimSpace(strings.TrimPrefix(line, "#")))
	}
	return strings.TrimSpace(strings.Join(words, " "))
}
