package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Diagnose collects what a person would ask for after a failure in a namespace: its pods, claims and events, the driver's
// objects, the logs of the driver and its sidecars, and the ends of the nodes' kernel logs. What cannot be had is said.
func (c *Cluster) Diagnose(ctx context.Context, namespace, driverNamespace string) string {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var report strings.Builder
	section := func(title, text string, err error) {
		fmt.Fprintf(&report, "\n##### %s\n%s", title, text)
		if err != nil {
			fmt.Fprintf(&report, "(%v)\n", err)
		}
	}
	kubectl := func(arguments ...string) {
		output, err := c.Kubectl(ctx, arguments...)
		section("kubectl "+strings.Join(arguments, " "), output, err)
	}
	if namespace != "" {
		kubectl("--namespace", namespace, "get", "pods,persistentvolumeclaims", "--output", "wide")
		kubectl("--namespace", namespace, "get", "events", "--sort-by", ".lastTimestamp")
	}
	kubectl("get", "thinpools,nodethinpools,thinvolumes,persistentvolumes", "--output", "wide")
	kubectl("get", "nodethinpools", "--output", "jsonpath={range .items[*]}{.metadata.name}{\" \"}{.status.conditions}{\"\\n\"}{end}")
	kubectl("get", "csistoragecapacities", "--all-namespaces")
	kubectl("--namespace", driverNamespace, "get", "pods", "--output", "wide")
	events, err := c.Kubectl(ctx, "--namespace", driverNamespace, "get", "events", "--sort-by", ".metadata.creationTimestamp")
	section("the newest events of the driver", lastLines(events, 25), err)
	c.driverLogs(ctx, driverNamespace, section)
	c.nodeLogs(ctx, section)
	return report.String()
}

// driverLogs shows the ends of the logs of all containers in the driver's namespace, those before a restart included.
func (c *Cluster) driverLogs(ctx context.Context, namespace string, section func(title, text string, err error)) {
	const lines = "--tail=60"
	pods, err := c.Kubectl(ctx, "--namespace", namespace, "get", "pods", "--output", "name")
	if err != nil {
		section("the driver's pods", pods, err)
	}
	for _, pod := range strings.Fields(pods) {
		output, err := c.Kubectl(ctx, "--namespace", namespace, "logs", pod, "--all-containers", "--prefix", lines)
		section("log of "+pod, output, err)
		if output, err := c.Kubectl(ctx, "--namespace", namespace, "logs", pod, "--all-containers", "--prefix", "--previous", lines); err == nil {
			section("log of "+pod+" before its restart", output, nil)
		}
	}
}

func (c *Cluster) nodeLogs(ctx context.Context, section func(title, text string, err error)) {
	nodes, err := c.Lab.Nodes(ctx)
	if err != nil {
		section("nodes", "", err)
	}
	for _, node := range nodes {
		result, err := node.Exec(ctx, "sh", "-c", "dmesg | tail -n 15; DM_DISABLE_UDEV=1 dmsetup info --columns; DM_DISABLE_UDEV=1 dmsetup status")
		section("kernel of "+node.Name, string(result.Stdout)+string(result.Stderr), err)
	}
}

func lastLines(text string, count int) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "")
}
