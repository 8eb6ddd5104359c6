//go:build e2e

package bench

import (
	"encoding/json"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/pkg/node"
	"github.com/csi-dm/csi-dm/test/e2e/deployment"
	labcluster "github.com/csi-dm/csi-dm/test/lab/cluster"
)

// changed tells whether a figure is another one than before.
func changed(before, now *resource.Quantity) bool {
	if before == nil || now == nil {
		return before != now
	}
	return before.Cmp(*now) != 0
}

// apiLimits is the table of what each component may ask of the API server.
func (r *clusterRun) apiLimits() *table {
	r.t.Helper()
	limits := newTable("component", "requests per second", "in a burst")
	var controllers appsv1.DeploymentList
	noError(r.t, r.List(r.ctx, &controllers, client.InNamespace(deployment.Namespace)))
	for i := range controllers.Items {
		r.limitsOf(limits, controllers.Items[i].Spec.Template.Spec.Containers, "controller", "", "")
	}
	var agents appsv1.DaemonSetList
	noError(r.t, r.List(r.ctx, &agents, client.InNamespace(deployment.Namespace)))
	defaults := node.DefaultOptions()
	for i := range agents.Items {
		r.limitsOf(limits, agents.Items[i].Spec.Template.Spec.Containers, "node", fmt.Sprint(defaults.APIQPS), fmt.Sprint(defaults.APIBurst))
	}
	limits.row("kube-controller-manager, kube-scheduler", fmt.Sprint(labcluster.ControlPlaneQPS), fmt.Sprint(labcluster.ControlPlaneBurst))
	qps, burst := r.kubeletLimits()
	limits.row("kubelet", qps, burst)
	return limits
}

// limitsOf adds the driver's own container, under the name of its role, and the sidecars beside it.
func (r *clusterRun) limitsOf(limits *table, containers []corev1.Container, role, qps, burst string) {
	for _, container := range containers {
		name, q, b := container.Name, qps, burst
		if name == "csi-dm" {
			name += " " + role
		}
		for _, argument := range container.Args {
			if value, ok := strings.CutPrefix(argument, "--kube-api-qps="); ok {
				q = value
			}
			if value, ok := strings.CutPrefix(argument, "--kube-api-burst="); ok {
				b = value
			}
		}
		limits.row(name, q, b)
	}
}

// kubeletLimits asks a kubelet for its configuration.
func (r *clusterRun) kubeletLimits() (qps, burst string) {
	r.t.Helper()
	text, err := r.Kubectl(r.ctx, "get", "--raw", "/api/v1/nodes/"+r.nodes[0]+"/proxy/configz")
	noError(r.t, err)
	var configz struct {
		Config struct {
			QPS   json.Number `json:"kubeAPIQPS"`
			Burst json.Number `json:"kubeAPIBurst"`
		} `json:"kubeletconfig"`
	}
	noError(r.t, json.Unmarshal([]byte(text), &configz))
	return configz.Config.QPS.String(), configz.Config.Burst.String()
}
