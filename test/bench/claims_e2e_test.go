//go:build e2e

package bench

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/test/e2e/cluster"
)

// bind creates claims whose nodes are chosen in the scheduler's place, by turns, and waits until all are bound.
func (r *clusterRun) bind(count int, prefix string, nodes ...string) sample {
	r.t.Helper()
	bound := r.observe(&corev1.PersistentVolumeClaimList{}, func(_ watch.EventType, object client.Object) bool {
		return strings.HasPrefix(object.GetName(), prefix) && object.(*corev1.PersistentVolumeClaim).Status.Phase == corev1.ClaimBound
	}, client.InNamespace(r.namespace))
	begun := r.together(count, prefix, func(index int, name string) error {
		_, err := r.CreateClaim(r.ctx, cluster.Claim{
			Namespace: r.namespace, Name: name, Class: r.class, Size: claimSize, Node: nodes[index%len(nodes)],
		})
		return err
	})
	bound.await(r.ctx, r.t, "claims are bound", count)
	return bound.since(begun)
}

// measureClaims binds claims on all nodes.
func (r *clusterRun) measureClaims(count int) {
	r.t.Helper()
	what := fmt.Sprintf("%d claims, created at once, until Bound", count)
	before := r.look()
	r.note(what, r.bind(count, "claim", r.nodes...), "none: the node is chosen")
	r.noteWrites(what, before, count)
	r.noteStorage(what, before, "create")
}

// measureDeletion deletes all claims and waits until their volumes are gone.
func (r *clusterRun) measureDeletion() {
	r.t.Helper()
	volumes, err := r.NamespaceVolumes(r.ctx, r.namespace)
	noError(r.t, err)
	gone := r.observe(&v1alpha1.ThinVolumeList{}, func(kind watch.EventType, _ client.Object) bool { return kind == watch.Deleted })
	before := r.look()
	begun := map[string]time.Time{}
	for i := range volumes {
		begun[volumes[i].Name] = time.Now()
	}
	noError(r.t, r.DeleteAllOf(r.ctx, &corev1.PersistentVolumeClaim{}, client.InNamespace(r.namespace)))
	gone.await(r.ctx, r.t, "volumes are gone", len(volumes))
	what := fmt.Sprintf("%d claims, deleted at once, until their volumes are gone", len(volumes))
	r.note(what, gone.since(begun), "")
	r.noteWrites(what, before, len(volumes))
	r.noteStorage(what, before, "delete")
}
