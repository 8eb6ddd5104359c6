package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/csi-dm/csi-dm/pkg/node"
	"github.com/csi-dm/csi-dm/pkg/node/admin"
)

// output is how a command prints its result.
type output struct{ format string }

func (o *output) addFlags(command *cobra.Command) {
	command.Flags().StringVarP(&o.format, "output", "o", "table", "table or json (sizes in bytes)")
}

func (o *output) validate() error {
	if o.format != "table" && o.format != "json" {
		return marked{fmt.Errorf("--output: %q is not allowed: table or json", o.format), errUsage}
	}
	return nil
}

// question is what the commands that ask the node's agent have in common.
type question struct {
	output
	runDirectory string
}

func (q *question) addFlags(command *cobra.Command) {
	q.output.addFlags(command)
	command.Flags().StringVar(&q.runDirectory, "run-dir", node.DefaultRunDirectory, "the agent's --run-dir")
}

func (q *question) client() *admin.Client { return admin.NewClient(admin.Socket(q.runDirectory)) }

// print writes value as JSON, or as table does.
func (o *output) print(w io.Writer, value any, table func(io.Writer) error) error {
	if o.format == "table" {
		return table(w)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
