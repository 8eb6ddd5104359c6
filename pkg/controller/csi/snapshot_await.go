package csi

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// awaitSnapshot waits until a snapshot's node has taken it. One that the node refuses, or cannot take because it is not there,
// or does not take within the call's time, is withdrawn.
func (s *Service) awaitSnapshot(ctx context.Context, snapshot *v1alpha1.ThinSnapshot) (*v1alpha1.ThinSnapshot, error) {
	node := snapshot.Spec.NodeName
	changed, cancel := s.notifier.subscribe(keyOfSnapshot(snapshot.Name), keyOfNode(node))
	defer cancel()
	patience := time.NewTimer(s.patienceOf(ctx))
	defer patience.Stop()
	observer := observerOf(s, snapshot)
	for {
		latest, err := observer.look(ctx)
		if err != nil {
			return nil, err
		}
		if isTaken(latest) {
			return latest, nil
		}
		reason, err := s.verdict(ctx, node, fmt.Sprintf("snapshot %q", latest.Name), view.SnapshotRefused(latest), latest.Status.Conditions)
		if err != nil {
			return nil, err
		}
		if reason != nil {
			return s.withdrawSnapshot(ctx, latest, withoutRetry(reason))
		}
		select {
		case <-changed:
		case <-patience.C:
			return s.withdrawSnapshot(ctx, latest, &preconditionError{fmt.Sprintf("node %q did not take snapshot %q within the time of the call: %s",
				node, latest.Name, lastWord(latest.Status.Conditions))})
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// withdrawSnapshot takes a snapshot back and gives the refusal, or the snapshot if its node has taken it in the meantime.
func (s *Service) withdrawSnapshot(ctx context.Context, snapshot *v1alpha1.ThinSnapshot, refusal error) (*v1alpha1.ThinSnapshot, error) {
	// The caller's end must not leave it undone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawal)
	defer cancel()
	for {
		if snapshot.Status.ThinID != nil {
			// It was taken once; the caller may have it, and have forgotten.
			return nil, &inUseError{fmt.Sprintf("snapshot %q was taken and is not ready: %s", snapshot.Name, refusal)}
		}
		klog.FromContext(ctx).Info("Withdrawing snapshot", "reason", refusal)
		uid, version := snapshot.UID, snapshot.ResourceVersion
		target := &v1alpha1.ThinSnapshot{}
		target.Name = snapshot.Name
		err := client.IgnoreNotFound(s.client.Delete(ctx, target, client.Preconditions{UID: &uid, ResourceVersion: &version}))
		if err == nil {
			return nil, refusal
		}
		if !apierrors.IsConflict(err) {
			return nil, err
		}
		latest := new(v1alpha1.ThinSnapshot)
		err = s.live.Get(ctx, client.ObjectKeyFromObject(snapshot), latest)
		switch {
		case client.IgnoreNotFound(err) != nil:
			return nil, err
		case err != nil, latest.UID != uid, latest.DeletionTimestamp != nil:
			return nil, refusal
		case isTaken(latest):
			klog.FromContext(ctx).Info("Snapshot was taken while it was to be withdrawn")
			return latest, nil
		}
		snapshot = latest
	}
}
