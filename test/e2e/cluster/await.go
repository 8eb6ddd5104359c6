package cluster

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// pollInterval is short against what a node of the lab needs for anything, and a get costs the API server well under a
// millisecond.
const pollInterval = 200 * time.Millisecond

// Await calls check until it says nothing is missing. Check returns what is still missing, for the error of a wait in vain, or
// an error that no waiting will mend.
func Await(ctx context.Context, limit time.Duration, what string, check func(context.Context) (missing string, err error)) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	last := "never looked"
	for {
		missing, err := check(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("waited %s for %s: %s", time.Since(start).Round(time.Second), what, last)
		case err != nil:
			return fmt.Errorf("while waiting for %s: %w", what, err)
		case missing == "":
			return nil
		}
		last = missing
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// AwaitObject waits until the object exists and satisfies a condition; object holds its last state.
func (c *Cluster) AwaitObject(
	ctx context.Context, limit time.Duration, object client.Object, what string, check func() (missing string),
) error {
	key := client.ObjectKeyFromObject(object)
	return Await(ctx, limit, fmt.Sprintf("%T %s to be %s", object, key, what), func(ctx context.Context) (string, error) {
		err := c.Get(ctx, key, object)
		if apierrors.IsNotFound(err) {
			return "it does not exist", nil
		}
		if err != nil {
			return err.Error(), nil
		}
		return check(), nil
	})
}

// AwaitGone waits until the object does not exist.
func (c *Cluster) AwaitGone(ctx context.Context, limit time.Duration, object client.Object) error {
	key := client.ObjectKeyFromObject(object)
	return Await(ctx, limit, fmt.Sprintf("%T %s to be gone", object, key), func(ctx context.Context) (string, error) {
		err := c.Get(ctx, key, object)
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		if err != nil {
			return err.Error(), nil
		}
		return fmt.Sprintf("it exists with finalizers %q, deletion was asked for at %v", object.GetFinalizers(), object.GetDeletionTimestamp()), nil
	})
}
