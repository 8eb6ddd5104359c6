package csi

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// errGone: the object that a call waits for was deleted.
var errGone = errors.New("it was deleted")

// pointer is a pointer to an object of the API.
type pointer[O any] interface {
	*O
	client.Object
}

// observer follows one object in the caches.
type observer[O any, P pointer[O]] struct {
	service *Service
	// object is its newest known state.
	object P
	looked bool
	seen   bool
}

func observerOf[O any, P pointer[O]](service *Service, object P) *observer[O, P] {
	return &observer[O, P]{service: service, object: object}
}

// look gives the newest state of the object, or errGone. The caches show an object a moment after it was written; absent and
// never seen means that it is not there yet, or was there between two looks, and then the API server is asked.
func (o *observer[O, P]) look(ctx context.Context) (P, error) {
	latest := P(new(O))
	err := o.service.client.Get(ctx, client.ObjectKeyFromObject(o.object), latest)
	switch {
	case err == nil && latest.GetUID() == o.object.GetUID():
		o.seen = true
		o.object = latest
	case err != nil && !apierrors.IsNotFound(err):
		return nil, err
	case o.seen:
		return nil, errGone
	case o.looked:
		klog.FromContext(ctx).V(4).Info("Cache does not show the object, asking the API server")
		err := o.service.live.Get(ctx, client.ObjectKeyFromObject(o.object), latest)
		if apierrors.IsNotFound(err) || (err == nil && latest.GetUID() != o.object.GetUID()) {
			return nil, errGone
		}
		if err != nil {
			return nil, err
		}
		o.object = latest
	}
	o.looked = true
	if o.object.GetDeletionTimestamp() != nil {
		return nil, errGone
	}
	return o.object, nil
}

// isGone asks the API server where the cache does not show the object.
func isGone[O any, P pointer[O]](ctx context.Context, s *Service, object P) (bool, error) {
	for _, reader := range []client.Reader{s.client, s.live} {
		latest := P(new(O))
		err := reader.Get(ctx, client.ObjectKeyFromObject(object), latest)
		if err == nil && latest.GetUID() == object.GetUID() {
			return false, nil
		}
		if client.IgnoreNotFound(err) != nil {
			return false, err
		}
	}
	return true, nil
}

// findObject gets an object by name, and asks the API server for one that the cache does not show.
func findObject[O any, P pointer[O]](ctx context.Context, s *Service, name string) (P, error) {
	object := P(new(O))
	err := s.client.Get(ctx, client.ObjectKey{Name: name}, object)
	if apierrors.IsNotFound(err) {
		err = s.live.Get(ctx, client.ObjectKey{Name: name}, object)
	}
	return object, err
}
