package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/csi-dm/csi-dm/test/lab/control"
	"github.com/csi-dm/csi-dm/test/lab/node"
)

// dialPatience is short: a node without power does not answer at all.
const dialPatience = 2 * time.Second

// agentClient speaks to a node's agent.
type agentClient struct {
	base string
	http *http.Client
}

func newAgentClient(address string) *agentClient {
	dialer := &net.Dialer{Timeout: dialPatience}
	return &agentClient{
		base: "http://" + net.JoinHostPort(address, strconv.Itoa(node.AgentPort)),
		// No connection is kept: it would be a dead one after a power cut.
		http: &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}},
	}
}

// bootID returns the boot id of the node's kernel.
func (a *agentClient) bootID(ctx context.Context) (string, error) {
	content, err := a.do(ctx, http.MethodGet, node.BootPath, nil)
	return string(content), err
}

// startKubelet starts kubelet and kube-proxy.
func (a *agentClient) startKubelet(ctx context.Context) error {
	_, err := a.do(ctx, http.MethodPost, node.KubeletPath, nil)
	return err
}

// turnOff flushes the node's disks and turns it off. That it answers nothing is in the nature of it.
func (a *agentClient) turnOff(ctx context.Context) {
	_, _ = a.do(ctx, http.MethodPost, node.OffPath, nil)
}

// exec runs a command on the node.
func (a *agentClient) exec(ctx context.Context, request control.ExecRequest) (control.ExecResult, error) {
	var result control.ExecResult
	body, err := json.Marshal(request)
	if err != nil {
		return result, err
	}
	content, err := a.do(ctx, http.MethodPost, node.ExecPath, body)
	if err != nil {
		return result, err
	}
	return result, json.Unmarshal(content, &result)
}

// run runs a command that must succeed.
func (a *agentClient) run(ctx context.Context, argv ...string) error {
	result, err := a.exec(ctx, control.ExecRequest{Argv: argv})
	if err != nil {
		return err
	}
	if result.ExitStatus != 0 {
		return fmt.Errorf("%s: exit status %d: %s", strings.Join(argv, " "), result.ExitStatus, bytes.TrimSpace(result.Stderr))
	}
	return nil
}

func (a *agentClient) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := a.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("agent: %s", bytes.TrimSpace(content))
	}
	return content, nil
}
