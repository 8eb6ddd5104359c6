//go:build e2e

package api

import (
	"context"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// eventually is how long something that the controller does may take.
const eventually = 10 * time.Second

// remove deletes an object, whatever finalizers it has, and waits until it is gone.
func remove(t *testing.T, object client.Object) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), eventually)
	defer cancel()
	if err := client.IgnoreNotFound(suite.Delete(ctx, object)); err != nil {
		t.Errorf("delete %s: %v", object.GetName(), err)
	}
	await(t, object.GetName()+" to be gone", func(ctx context.Context) string {
		err := suite.Get(ctx, client.ObjectKeyFromObject(object), object)
		if err != nil {
			if client.IgnoreNotFound(err) == nil {
				return ""
			}
			return err.Error()
		}
		if len(object.GetFinalizers()) > 0 {
			patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
			if err := client.IgnoreNotFound(suite.Patch(ctx, object, patch)); err != nil {
				return err.Error()
			}
		}
		return "it is there"
	})
}

// awaitGone waits until an object is gone by itself.
func awaitGone(t *testing.T, object client.Object) {
	t.Helper()
	await(t, object.GetName()+" to be gone", func(ctx context.Context) string {
		err := suite.Get(ctx, client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			return ""
		}
		return fmt.Sprintf("it is there (%v), deleted at %v, with finalizers %v", err, object.GetDeletionTimestamp(), object.GetFinalizers())
	})
}

// await polls until missing is empty; the test ends with the last thing that was missing if that takes too long.
func await(t *testing.T, what string, missing func(context.Context) string) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), eventually)
	defer cancel()
	begin := time.Now()
	for {
		last := missing(ctx)
		if last == "" {
			return time.Since(begin)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited %s for %s: %s", eventually, what, last)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// crd is a CustomResourceDefinition by name.
func crd(name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("apiextensions.k8s.io/v1")
	object.SetKind("CustomResourceDefinition")
	object.SetName(name)
	return object
}

func nestedStrings(object *unstructured.Unstructured, path ...string) ([]string, bool, error) {
	return unstructured.NestedStringSlice(object.Object, path...)
}
