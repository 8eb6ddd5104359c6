package lifecycle

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// Claims says at a PersistentVolumeClaim what has become wrong with its volume, or with the pool that the volume is in, and that
// it is well again. Who owns a claim does not see the driver's objects.
type Claims struct {
	// Client reads from the caches.
	Client   client.Client
	View     *view.View
	Recorder events.EventRecorder

	// mu guards told: what is wrong as far as it was seen. What is well is not in it.
	mu   sync.Mutex
	told map[string]told
	// begun is when this process began to tell: with the first volume that it looked at.
	begun time.Time
}

// told is the reasons that were seen last for a volume; empty: nothing is wrong.
type told struct{ volume, pool string }

// handover is how long before this process had taken over something may have happened that nobody has told of. What is older
// was told by the leader before: a new one must not tell it again at thousands of claims.
const handover = 2 * time.Minute

// Reconcile tells what has changed for one volume.
func (c *Claims) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	volume := new(v1alpha1.ThinVolume)
	err := c.Client.Get(ctx, request.NamespacedName, volume)
	if apierrors.IsNotFound(err) || err == nil && (volume.DeletionTimestamp != nil || volume.Spec.Claim == nil) {
		c.forget(request.Name)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	part := new(v1alpha1.NodeThinPool)
	key := client.ObjectKey{Name: v1alpha1.NodeThinPoolName(volume.Spec.PoolName, volume.Spec.NodeName)}
	if err := c.Client.Get(ctx, key, part); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, err
	}
	claim, err := c.claimOf(ctx, volume)
	if claim == nil || err != nil {
		return reconcile.Result{}, err
	}
	for _, n := range c.news(volume.Name, ailmentOfVolume(volume), ailmentOfPart(part)) {
		kind := corev1.EventTypeWarning
		if n.reason == v1alpha1.ReasonRecovered {
			kind = corev1.EventTypeNormal
		}
		c.Recorder.Eventf(claim, volume, kind, n.reason, "Report", "%s", noteOf(n.message))
	}
	return reconcile.Result{}, nil
}

// claimOf gives the claim that the volume was made for, or nil: another one of that name has another uid, which csi-provisioner
// puts into the name that it asks for.
func (c *Claims) claimOf(ctx context.Context, volume *v1alpha1.ThinVolume) (*corev1.PersistentVolumeClaim, error) {
	claim := new(corev1.PersistentVolumeClaim)
	err := c.Client.Get(ctx, client.ObjectKey{Namespace: volume.Spec.Claim.Namespace, Name: volume.Spec.Claim.Name}, claim)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(v1alpha1.RequestOfVolume(volume.Name), "-"+string(claim.UID)) {
		return nil, nil
	}
	return claim, nil
}

// news remembers what is wrong and gives what was not told: each reason when it appears or changes, and that nothing is wrong
// any more. What was wrong long before the process began was told by another.
func (c *Claims) news(name string, volume, pool ailment) []ailment {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun.IsZero() {
		c.begun = time.Now()
	}
	before := c.told[name]
	now := told{volume.reason, pool.reason}
	if now == before {
		return nil
	}
	if c.told == nil {
		c.told = map[string]told{}
	}
	if c.told[name] = now; now == (told{}) {
		delete(c.told, name)
	}
	var news []ailment
	for _, topic := range []struct {
		before string
		now    ailment
	}{{before.volume, volume}, {before.pool, pool}} {
		switch {
		case topic.now.reason == topic.before:
		case topic.now.reason == "":
			news = append(news, ailment{reason: v1alpha1.ReasonRecovered, message: fmt.Sprintf("%s is well again; it was %s", topic.now.what, topic.before)})
		case topic.before != "" || topic.now.since.After(c.begun.Add(-handover)):
			news = append(news, ailment{reason: topic.now.reason, message: topic.now.what + ": " + topic.now.message})
		}
	}
	return news
}

func (c *Claims) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.told, name)
}
