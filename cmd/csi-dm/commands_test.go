package main

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/csi-dm/csi-dm/pkg/node/admin"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
	"github.com/csi-dm/csi-dm/pkg/thinpool"
)

// run runs a command line and gives what it prints.
func runCommand(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	var output bytes.Buffer
	root := newRootCommand()
	root.SetArgs(arguments)
	root.SetOut(&output)
	root.SetErr(&output)
	err := root.ExecuteContext(t.Context())
	return output.String(), err
}

// noEngine checks and repairs no pool: there is no kernel here.
type noEngine struct{ admin.Engine }

func (noEngine) Check(_ context.Context, config thinpool.Config) (thinpool.CheckReport, error) {
	return thinpool.CheckReport{}, &thinpool.Error{Op: "check", Pool: config.Name, Err: thinpool.ErrDeviceNotFound}
}

// agent answers at a socket as a node's agent does that knows a pool whose disk is away.
func agent(t *testing.T) (runDirectory string) {
	t.Helper()
	runDirectory = t.TempDir()
	set := pools.NewSet(func(context.Context, thinpool.Config) (pools.Pool, error) { return nil, thinpool.ErrDeviceNotFound })
	_, _, _ = set.Open(t.Context(), thinpool.Config{Name: "fast"})
	ctx, cancel := context.WithCancel(context.Background())
	server, err := admin.Listen(ctx, admin.Socket(runDirectory), set, noEngine{}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return runDirectory
}

func TestPoolInfo(t *testing.T) {
	directory := agent(t)
	table, err := runCommand(t, "pool", "info", "--run-dir", directory)
	if err != nil || !strings.Contains(table, "Pool: fast\n") || !strings.Contains(table, "Not Open: device not found\n") {
		t.Errorf("%q, %v", table, err)
	}
	text, err := runCommand(t, "pool", "info", "fast", "--run-dir", directory, "-o", "json")
	var infos []admin.PoolInfo
	if err != nil || json.Unmarshal([]byte(text), &infos) != nil || len(infos) != 1 || infos[0].Name != "fast" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := runCommand(t, "pool", "info", "slow", "--run-dir", directory); err == nil || !strings.Contains(err.Error(), `"slow"`) || !strings.Contains(err.Error(), "fast") {
		t.Errorf("a pool that is not there: %v", err)
	}
}

func TestVolumeList(t *testing.T) {
	directory := agent(t)
	if table, err := runCommand(t, "volume", "list", "--run-dir", directory); err != nil || !strings.HasPrefix(table, "NAME ") {
		t.Errorf("%q, %v", table, err)
	}
	if text, err := runCommand(t, "volume", "list", "--run-dir", directory, "--output", "json"); err != nil || strings.TrimSpace(text) != "[]" {
		t.Errorf("%q, %v", text, err)
	}
}

// What goes wrong is one line that says what to do about it.
func TestErrors(t *testing.T) {
	for _, test := range []struct {
		arguments []string
		words     string
	}{
		{[]string{"pool", "info", "--run-dir", filepath.Join(t.TempDir(), "no")}, "the node agent is not running"},
		{[]string{"volume", "list", "--run-dir", filepath.Join(t.TempDir(), "no")}, "the node agent is not running"},
		{[]string{"pool", "info", "-o", "yaml"}, "--output"},
		{[]string{"volume", "list", "extra"}, "extra"},
		{[]string{"node", "--node-id", "Not A Name"}, "--node-id"},
		{[]string{"node", "--no-such-flag"}, "--no-such-flag"},
		{[]string{"nonsense"}, "nonsense"},
	} {
		output, err := runCommand(t, test.arguments...)
		if err == nil || !strings.Contains(err.Error(), test.words) || strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%v: %v", test.arguments, err)
		}
		if output != "" {
			t.Errorf("%v: printed %q besides", test.arguments, output)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, arguments := range [][]string{{"version"}, {"--version"}} {
		if output, err := runCommand(t, arguments...); err != nil || !strings.HasPrefix(output, "csi-dm ") {
			t.Errorf("%v: %q, %v", arguments, output, err)
		}
	}
}
