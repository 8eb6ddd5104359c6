package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
	"github.com/csi-dm/csi-dm/pkg/parameters"
)

// Classes says what is wrong with a StorageClass, by an event on the class and on each claim that waits for a volume of it. A
// class without a pool has no capacity anywhere: with WaitForFirstConsumer no volume of it is ever asked for, and its pods
// hear from the scheduler only that no node has enough storage.
type Classes struct {
	// Client reads from the caches.
	Client   client.Client
	View     *view.View
	Recorder events.EventRecorder

	// mu guards told: what was said of each object, so that it is said once.
	mu   sync.Mutex
	told map[string]map[types.UID]string // by class
}

// settling is how long a class and its pool may take to appear, in whatever order, before it is a fault.
const settling = 5 * time.Second

// Reconcile looks at one class and its claims.
func (c *Classes) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	class := new(storagev1.StorageClass)
	if err := c.Client.Get(ctx, request.NamespacedName, class); err != nil && !apierrors.IsNotFound(err) {
		return reconcile.Result{}, err
	}
	pool, ours := view.PoolOfClass(class)
	if !ours {
		c.news(request.Name, nil)
		return reconcile.Result{}, nil
	}
	fault, err := c.fault(ctx, class, pool)
	if err != nil || fault == nil {
		c.news(request.Name, nil)
		return reconcile.Result{}, err
	}
	claims, err := c.View.PendingClaims(ctx, class.Name)
	if err != nil {
		return reconcile.Result{}, err
	}
	objects, words := map[types.UID]client.Object{class.UID: class}, map[types.UID]string{class.UID: fault.Error()}
	for i := range claims {
		objects[claims[i].UID], words[claims[i].UID] = &claims[i], fault.Error()
	}
	note := noteOf(fmt.Sprintf("StorageClass %s: %v", class.Name, fault))
	for _, uid := range c.news(class.Name, words) {
		c.Recorder.Eventf(objects[uid], nil, corev1.EventTypeWarning, v1alpha1.ReasonInvalidClass, "Check", "%s", note)
	}
	return reconcile.Result{}, nil
}

// fault is what is wrong with a class: nil for one that is right.
func (c *Classes) fault(ctx context.Context, class *storagev1.StorageClass, pool string) (fault, err error) {
	if _, fault = parameters.Parse(class.Parameters, parameters.DefaultType); fault != nil {
		return fault, nil
	}
	var unknown *parameters.Error
	if err := c.View.CheckPool(ctx, pool); errors.As(err, &unknown) {
		return unknown, nil
	} else if err != nil {
		return nil, err
	}
	parts, err := c.View.Pools(ctx, pool)
	if err == nil && len(parts) == 0 {
		fault = &parameters.Error{Key: v1alpha1.ParameterPool, Value: pool, Allowed: "a ThinPool that is on a node: its nodeSelector matches none that runs the driver"}
	}
	return fault, err
}

// news remembers what is being said of a class's objects and gives those of which it was not said before.
func (c *Classes) news(class string, words map[types.UID]string) []types.UID {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.told[class]
	if len(words) == 0 {
		delete(c.told, class)
		return nil
	}
	var news []types.UID
	for uid, text := range words {
		if before[uid] != text {
			news = append(news, uid)
		}
	}
	if c.told == nil {
		c.told = map[string]map[types.UID]string{}
	}
	c.told[class] = maps.Clone(words)
	return news
}
