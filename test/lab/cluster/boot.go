package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"
)

// bootPatience is how long a node may take from power to Ready, on a machine that is busy with builds.
const bootPatience = 3 * time.Minute

// boot gives the node power, loads the images it lacks, and returns once Kubernetes calls it Ready. If that fails it takes the
// power away again.
func (s *supervisor) boot(ctx context.Context, n *guestNode) (err error) {
	n.power.Lock()
	defer n.power.Unlock()
	ctx, cancel := context.WithTimeout(ctx, bootPatience)
	defer cancel()
	//nolint:contextcheck // the guest outlives the request that boots it: it ends with the lab
	guest, err := n.start(s.lifetime)
	if err != nil {
		return err
	}
	ctx, cancelWithGuest := whilePowered(ctx, n.options.Name, guest)
	defer cancelWithGuest()
	logger := klog.FromContext(ctx).WithValues("node", n.options.Name)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("boot %s (logs are in %s): %w", n.options.Name, n.logs, err), guest.PowerCut())
		}
	}()
	bootID, err := awaitAgent(ctx, n)
	if err != nil {
		return err
	}
	logger.Info("Agent answers", "bootID", bootID)
	if err := n.load(ctx, s.images.all()); err != nil {
		return err
	}
	// Nothing would come of a kubelet without a server, only growing pauses between its attempts.
	select {
	case <-s.planeReady:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := n.agent.startKubelet(ctx); err != nil {
		return err
	}
	logger.Info("Kubelet started")
	if err := s.awaitReady(ctx, n, bootID); err != nil {
		return err
	}
	logger.Info("Node is Ready")
	return nil
}

// awaitAgent waits until the node's agent answers and returns the boot id of the node's kernel.
func awaitAgent(ctx context.Context, n *guestNode) (string, error) {
	var bootID string
	var last error
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		bootID, last = n.agent.bootID(ctx)
		return last == nil, nil
	})
	if err != nil {
		return "", fmt.Errorf("wait for the agent: %w", errors.Join(context.Cause(ctx), last))
	}
	return bootID, nil
}

// awaitReady waits until the node is Ready by a report of the kubelet that runs now: an earlier one's may linger.
func (s *supervisor) awaitReady(ctx context.Context, n *guestNode, bootID string) error {
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		object, err := s.plane.client.CoreV1().Nodes().Get(ctx, n.options.Name, metav1.GetOptions{})
		return err == nil && object.Status.NodeInfo.BootID == bootID && ready(object), nil
	})
	if err != nil {
		return fmt.Errorf("wait for Kubernetes to call it Ready: %w", err)
	}
	return nil
}

// ready tells whether pods would be scheduled on the node: taints for a lost node linger for a moment after it is back.
func ready(object *corev1.Node) bool {
	for _, taint := range object.Spec.Taints {
		if taint.Key == corev1.TaintNodeNotReady || taint.Key == corev1.TaintNodeUnreachable {
			return false
		}
	}
	for _, condition := range object.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
