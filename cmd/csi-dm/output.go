package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/csi-dm/csi-dm/pkg/node"
	"github.com/csi-dm/csi-dm/pkg/node/admin"
)

// question is what the commands that ask the node's agent have in common.
type question struct {
	runDirectory string
	output       string
}

func (q *question) addFlags(command *cobra.Command) {
	command.Flags().StringVar(&q.runDirectory, "run-dir", node.DefaultRunDirectory, "the agent's --run-dir")
	command.Flags().StringVarP(&q.output, "output", "o", "table", "table or json (sizes in bytes)")
}

func (q *question) validate() error {
	if q.output != "table" && q.output != "json" {
		return fmt.Errorf("--output: %q is not allowed: table or json", q.output)
	}
	return nil
}

func (q *question) client() *admin.Client { return admin.NewClient(admin.Socket(q.runDirectory)) }

// print writes value as JSON, or as table does.
func (q *question) print(w io.Writer, value any, table func(io.Writer) error) error {
	if q.output == "table" {
		return table(w)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
