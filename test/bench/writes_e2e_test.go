//go:build e2e

package bench

import (
	"context"
	"fmt"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/csi-dm/csi-dm/test/e2e/deployment"
)

// metrics are the metrics of a process, by name.
type metrics map[string]*dto.MetricFamily

// readMetrics asks for metrics through the API server: its own at /metrics, a pod's through its proxy.
func (r *clusterRun) readMetrics(path string) metrics {
	r.t.Helper()
	text, err := r.Kubectl(r.ctx, "get", "--raw", path)
	noError(r.t, err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	noError(r.t, err)
	return families
}

// agentMetrics are those of a node's agent.
func (r *clusterRun) agentMetrics(ctx context.Context, node string) metrics {
	r.t.Helper()
	pod, err := r.deployment.NodePod(ctx, node)
	noError(r.t, err)
	return r.readMetrics(fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:9809/proxy/metrics", deployment.Namespace, pod))
}

func labelsOf(metric *dto.Metric) map[string]string {
	labels := map[string]string{}
	for _, label := range metric.GetLabel() {
		labels[label.GetName()] = label.GetValue()
	}
	return labels
}

// writes are requests that change something, as the API server counts them: RESOURCE VERB to their number, those that failed
// included.
type writes map[string]int

// readWrites reads the API server's count of writes of the driver's kinds and of capacity objects.
func (r *clusterRun) readWrites() writes {
	r.t.Helper()
	counted := writes{}
	for _, metric := range r.readMetrics("/metrics")["apiserver_request_total"].GetMetric() {
		labels := labelsOf(metric)
		switch labels["verb"] {
		case "POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION":
		default:
			continue
		}
		if labels["group"] != "csi-dm.io" && labels["resource"] != "csistoragecapacities" {
			continue
		}
		resource := labels["resource"]
		if labels["subresource"] != "" {
			resource += "/" + labels["subresource"]
		}
		counted[resource+" "+labels["verb"]] += int(metric.GetCounter().GetValue())
	}
	return counted
}

// since are the writes that came after those before, of resources that begin with a word.
func (w writes) since(before writes, resource string) int {
	sum := 0
	for kind, count := range w {
		if strings.HasPrefix(kind, resource) {
			sum += count - before[kind]
		}
	}
	return sum
}
