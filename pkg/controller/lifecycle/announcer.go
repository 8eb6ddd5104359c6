package lifecycle

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// Announcer makes events of the conditions of NodeThinPools: on the ThinPool, for the admin who wrote it, and on the Node,
// for the one who looks there.
type Announcer struct {
	// Client reads from the caches.
	Client   client.Client
	Recorder events.EventRecorder

	// mu guards announced: what was announced since the process started. A new leader announces anew what is still wrong.
	mu        sync.Mutex
	announced map[string]map[string]announcement // by NodeThinPool and condition
}

// announcement is what makes a condition worth another event. Only Ready's message says what is wrong; those of other
// conditions carry figures, which change all the time.
type announcement struct {
	status  metav1.ConditionStatus
	reason  string
	message string
	since   time.Time
}

func (a *Announcer) addTo(mgr manager.Manager) error {
	return builder.ControllerManagedBy(mgr).
		Named("announcer").
		WithOptions(controller.Options{RateLimiter: retries[reconcile.Request]()}).
		For(&v1alpha1.NodeThinPool{}).
		Complete(a)
}

// Reconcile announces what has changed in one NodeThinPool.
func (a *Announcer) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	part := new(v1alpha1.NodeThinPool)
	if err := a.Client.Get(ctx, request.NamespacedName, part); apierrors.IsNotFound(err) {
		a.forget(request.Name)
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, err
	}
	for _, condition := range a.news(part) {
		a.announce(ctx, part, condition)
	}
	return reconcile.Result{}, nil
}

// news are the conditions that are to be announced: bad ones when they appear or change, a good one only after a bad one.
func (a *Announcer) news(part *v1alpha1.NodeThinPool) []metav1.Condition {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.announced == nil {
		a.announced = map[string]map[string]announcement{}
	}
	if part.DeletionTimestamp != nil {
		return nil
	}
	known := a.announced[part.Name]
	if known == nil {
		known = map[string]announcement{}
		a.announced[part.Name] = known
	}
	var news []metav1.Condition
	for _, condition := range part.Status.Conditions {
		if !notable(condition) {
			continue
		}
		now := announcement{status: condition.Status, reason: condition.Reason, since: condition.LastTransitionTime.Time}
		if condition.Type == v1alpha1.ConditionReady {
			now.message = condition.Message
		}
		before, seen := known[condition.Type]
		known[condition.Type] = now
		if now == before || (condition.Status == metav1.ConditionTrue && (!seen || before.status == metav1.ConditionTrue)) {
			continue
		}
		news = append(news, condition)
	}
	return news
}

func (a *Announcer) forget(part string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.announced, part)
}

// notable tells which conditions an admin wants to hear of: all but those that only say that something has not been done yet, and
// but Healthy, which says of the volumes what Ready and the conditions of space say of the pool.
func notable(condition metav1.Condition) bool {
	return condition.Type != v1alpha1.ConditionHealthy && condition.Status != metav1.ConditionUnknown && condition.Reason != v1alpha1.ReasonPending
}

func (a *Announcer) announce(ctx context.Context, part *v1alpha1.NodeThinPool, condition metav1.Condition) {
	kind := corev1.EventTypeWarning
	if condition.Status == metav1.ConditionTrue {
		kind = corev1.EventTypeNormal
	}
	var related []runtime.Object
	pool, node := new(v1alpha1.ThinPool), new(corev1.Node)
	if a.Client.Get(ctx, client.ObjectKey{Name: part.Spec.PoolName}, pool) == nil {
		related = append(related, pool)
	}
	if a.Client.Get(ctx, client.ObjectKey{Name: part.Spec.NodeName}, node) == nil {
		related = append(related, node)
	}
	note := noteOf(fmt.Sprintf("pool %s on node %s: %s is %s: %s", part.Spec.PoolName, part.Spec.NodeName, condition.Type, condition.Status, condition.Message))
	for _, object := range append(related, part) {
		a.Recorder.Eventf(object, part, kind, condition.Reason, "Report", "%s", note)
	}
}

// longestNote is what the API server takes as an event's note, in bytes (NoteLengthLimit in Kubernetes' pkg/apis/core/validation);
// a longer one is refused, and nobody would hear of the pool.
const longestNote = 1024

// noteOf cuts a text that is too long for a note between two characters. The condition has all of it.
func noteOf(text string) string {
	const more = "…"
	if len(text) <= longestNote {
		return text
	}
	return strings.ToValidUTF8(text[:longestNote-len(more)], "") + more
}
