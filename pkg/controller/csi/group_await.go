package csi

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/controller/view"
)

// awaitGroup waits until a group's node has taken it. One that the node refuses, or cannot take because it is not there, or does
// not take within the call's time, is withdrawn.
func (s *Service) awaitGroup(ctx context.Context, group *v1alpha1.ThinGroupSnapshot) (*v1alpha1.ThinGroupSnapshot, error) {
	node := group.Spec.NodeName
	changed, cancel := s.notifier.subscribe(keyOfGroup(group.Name), keyOfNode(node))
	defer cancel()
	patience := time.NewTimer(s.patienceOf(ctx))
	defer patience.Stop()
	observer := observerOf(s, group)
	for {
		latest, err := observer.look(ctx)
		if err != nil {
			return nil, err
		}
		if groupTaken(latest) {
			return latest, nil
		}
		reason, err := s.verdict(ctx, node, fmt.Sprintf("group snapshot %q", latest.Name), view.GroupRefused(latest), latest.Status.Conditions)
		if err != nil {
			return nil, err
		}
		if reason != nil {
			return s.withdrawGroup(ctx, latest, withoutRetry(reason))
		}
		select {
		case <-changed:
		case <-patience.C:
			return s.withdrawGroup(ctx, latest, &preconditionError{fmt.Sprintf("node %q did not take group snapshot %q within the time of the call: %s",
				node, latest.Name, lastWord(latest.Status.Conditions))})
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// groupTaken tells whether all snapshots of a group were taken.
func groupTaken(group *v1alpha1.ThinGroupSnapshot) bool {
	return apimeta.IsStatusConditionTrue(group.Status.Conditions, v1alpha1.ConditionReady)
}

// withdrawGroup takes a group back and gives the refusal, or the group if its node has taken it in the meantime.
func (s *Service) withdrawGroup(ctx context.Context, group *v1alpha1.ThinGroupSnapshot, refusal error) (*v1alpha1.ThinGroupSnapshot, error) {
	// The caller's end must not leave it undone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawal)
	defer cancel()
	for {
		klog.FromContext(ctx).Info("Withdrawing group snapshot", "reason", refusal)
		uid, version := group.UID, group.ResourceVersion
		target := &v1alpha1.ThinGroupSnapshot{}
		target.Name = group.Name
		err := client.IgnoreNotFound(s.client.Delete(ctx, target, client.Preconditions{UID: &uid, ResourceVersion: &version}))
		if err == nil {
			return nil, refusal
		}
		if !apierrors.IsConflict(err) {
			return nil, err
		}
		latest := new(v1alpha1.ThinGroupSnapshot)
		err = s.live.Get(ctx, client.ObjectKeyFromObject(group), latest)
		switch {
		case client.IgnoreNotFound(err) != nil:
			return nil, err
		case err != nil, latest.UID != uid, latest.DeletionTimestamp != nil:
			return nil, refusal
		case groupTaken(latest):
			klog.FromContext(ctx).Info("Group snapshot was taken while it was to be withdrawn")
			return latest, nil
		}
		group = latest
	}
}
