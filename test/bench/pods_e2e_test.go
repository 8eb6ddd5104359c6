//go:build e2e

package bench

import (
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

// creators create objects at the same time.
const creators = 20

// together calls create for each number below count, from some goroutines, and gives when each call began, by the name that it makes.
func (r *clusterRun) together(count int, prefix string, create func(index int, name string) error) map[string]time.Time {
	r.t.Helper()
	begun := map[string]time.Time{}
	var mutex sync.Mutex
	var failures []error
	next := 0
	var group sync.WaitGroup
	for range creators {
		group.Go(func() {
			for {
				mutex.Lock()
				index := next
				next++
				name := fmt.Sprintf("%s-%04d", prefix, index)
				if index < count {
					begun[name] = time.Now()
				}
				mutex.Unlock()
				if index >= count {
					return
				}
				if err := create(index, name); err != nil {
					mutex.Lock()
					failures = append(failures, err)
					mutex.Unlock()
				}
			}
		})
	}
	group.Wait()
	for _, err := range failures {
		noError(r.t, err)
	}
	return begun
}

// measurePods creates pods with a claim each at once and waits until all of them run.
func (r *clusterRun) measurePods(count int) {
	r.t.Helper()
	const prefix = "pod"
	running := r.observe(&corev1.PodList{}, func(_ watch.EventType, object client.Object) bool {
		return strings.HasPrefix(object.GetName(), prefix) && object.(*corev1.Pod).Status.Phase == corev1.PodRunning
	}, client.InNamespace(r.namespace))
	before := r.look()
	begun := r.together(count, prefix, func(_ int, name string) error {
		if _, err := r.CreateClaim(r.ctx, cluster.Claim{Namespace: r.namespace, Name: name, Class: r.class, Size: claimSize}); err != nil {
			return err
		}
		_, err := r.CreatePod(r.ctx, cluster.Pod{Namespace: r.namespace, Name: name, Claim: name})
		return err
	})
	running.await(r.ctx, r.t, "pods run", count)
	what := fmt.Sprintf("%d pods and their claims, created at once, until Running", count)
	r.note(what, running.since(begun), fmt.Sprint(r.failedScheduling()))
	r.noteWrites(what, before, count)
	r.noteStorage(what, before, "create", "NodeStageVolume", "NodePublishVolume")
}

// failedScheduling counts the scheduler's attempts that failed, by its events in the namespace.
func (r *clusterRun) failedScheduling() int {
	r.t.Helper()
	var events corev1.EventList
	noError(r.t, r.List(r.ctx, &events, client.InNamespace(r.namespace), client.MatchingFields{"reason": "FailedScheduling"}))
	sum := 0
	for _, event := range events.Items {
		times := max(1, int(event.Count))
		if event.Series != nil {
			times = max(times, int(event.Series.Count))
		}
		sum += times
	}
	return sum
}
