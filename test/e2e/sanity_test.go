//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/e2e/cluster"
	"github.com/csi-dm/csi-dm/test/e2e/deployment"
	"github.com/csi-dm/csi-dm/test/e2e/sanity"
)

// minimumSanityCases is how many cases of csi-sanity 5.6.0 must pass: a run that is cut short passes nothing off.
const minimumSanityCases = 40

// TestSanity: csi-sanity passes against the services of the cluster as they are installed, and skips nothing but what notRun
// names; nothing that it names runs.
func TestSanity(t *testing.T) {
	for _, accessType := range []string{"mount", "block"} {
		t.Run(accessType, func(t *testing.T) {
			f := newFixture(t, 15*time.Minute)
			controller := f.controllerPod()
			// csi-sanity says nothing of nodes, so its volumes go where most room is: to the node that it runs on.
			for _, node := range suite.nodes {
				if node != controller.Spec.NodeName {
					f.volumeOn(node, "filler-"+node, classExt4, 1536*mebibyte)
				}
			}
			cases, output, err := sanity.Run(f.ctx, f.Cluster, controller, sanity.Options{
				AccessType: accessType, VolumeSize: 64 * mebibyte, ExpandSize: 128 * mebibyte,
				Parameters: fmt.Sprintf("%s: %s\n", v1alpha1.ParameterPool, v1alpha1.DefaultPoolName),
			})
			if err != nil {
				t.Fatalf("%v\n%s", err, output)
			}
			if !judgeSanity(t, cases) {
				t.Log(output)
			}
		})
	}
}

// judgeSanity holds the cases to notRun.
func judgeSanity(t *testing.T, cases []sanity.Case) bool {
	t.Helper()
	passed, seen := 0, map[string]bool{}
	for _, c := range cases {
		_, listed := notRun[c.Name]
		seen[c.Name] = true
		switch {
		case c.State == sanity.Passed && listed:
			t.Errorf("%q is listed as not run, and passed: take it off the list", c.Name)
		case c.State == sanity.Passed:
			passed++
		case c.State == sanity.Skipped || c.State == sanity.Pending:
			if !listed {
				t.Errorf("%q was %s and is not listed: %s", c.Name, c.State, c.Message)
			}
		default:
			t.Errorf("%q %s: %s", c.Name, c.State, c.Message)
		}
	}
	for name := range notRun {
		if !seen[name] {
			t.Errorf("%q is listed and csi-sanity has no such case", name)
		}
	}
	if passed < minimumSanityCases {
		t.Errorf("%d cases passed, want %d at least", passed, minimumSanityCases)
	}
	t.Logf("%d cases: %d passed, %d are listed with the reason why they do not run", len(cases), passed, len(notRun))
	return !t.Failed()
}

// controllerPod is a pod of the controller that is ready.
func (f *fixture) controllerPod() *corev1.Pod {
	f.Helper()
	var ready *corev1.Pod
	f.must(cluster.Await(f.ctx, podPatience, "a controller to be ready", func(ctx context.Context) (string, error) {
		var pods corev1.PodList
		if err := f.List(ctx, &pods, client.InNamespace(deployment.Namespace), client.MatchingLabels{"app.kubernetes.io/component": "controller"}); err != nil {
			return err.Error(), nil
		}
		for i := range pods.Items {
			for _, condition := range pods.Items[i].Status.Conditions {
				if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue && pods.Items[i].DeletionTimestamp == nil {
					ready = &pods.Items[i]
					return "", nil
				}
			}
		}
		return fmt.Sprintf("%d pods, none ready", len(pods.Items)), nil
	}))
	return ready
}
