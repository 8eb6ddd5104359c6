//go:build e2e

package api

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// takes says that the snapshot is taken.
func takes() *metav1.Condition {
	return &metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady}
}

// decideOnSnapshots changes what becomes of new snapshots: nil for nothing.
func (s *standIn) decideOnSnapshots(condition *metav1.Condition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onSnapshots = func() *metav1.Condition { return condition.DeepCopy() }
}

// serveSnapshots handles the node's snapshots as serve does its volumes.
func (s *standIn) serveSnapshots() { serveKind(s, &v1alpha1.ThinSnapshotList{}, s.handleSnapshot) }

// serveGroups handles the node's groups of snapshots.
func (s *standIn) serveGroups() { serveKind(s, &v1alpha1.ThinGroupSnapshotList{}, s.handleGroup) }

func serveKind[T client.Object](s *standIn, list client.ObjectList, handle func(context.Context, T) error) {
	ctx, cancel := context.WithCancel(context.Background())
	watch, err := s.Watch(ctx, list, client.MatchingFields{"spec.nodeName": s.name})
	must(s.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range watch.ResultChan() {
			object, ok := event.Object.(T)
			if !ok || event.Type == "DELETED" {
				continue
			}
			if err := handle(ctx, object); err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				s.t.Errorf("stand-in for %s: %v", s.name, err)
			}
		}
	}()
	s.t.Cleanup(func() {
		cancel()
		watch.Stop()
		<-done
	})
}

func (s *standIn) handleSnapshot(ctx context.Context, snapshot *v1alpha1.ThinSnapshot) error {
	s.mu.Lock()
	condition, keeps := s.onSnapshots(), s.keeps
	s.nextID++
	id := s.nextID
	s.mu.Unlock()
	before := snapshot.DeepCopy()
	if snapshot.DeletionTimestamp != nil {
		if keeps || !controllerutil.RemoveFinalizer(snapshot, v1alpha1.VolumeFinalizer) {
			return nil
		}
		return s.Patch(ctx, snapshot, client.MergeFrom(before))
	}
	if condition == nil || len(snapshot.Status.Conditions) > 0 {
		return nil
	}
	condition.ObservedGeneration = snapshot.Generation
	apimeta.SetStatusCondition(&snapshot.Status.Conditions, *condition)
	if condition.Status == metav1.ConditionTrue {
		snapshot.Status.PoolID, snapshot.Status.ThinID = "pool", &id
		size := (snapshot.Spec.Capacity.Value() + blockSize - 1) / blockSize * blockSize
		snapshot.Status.RestoreSize = resource.NewQuantity(size, resource.BinarySI)
		now := metav1.NowMicro()
		now.Time = now.Truncate(time.Microsecond)
		snapshot.Status.CreationTime = &now
	}
	return s.Status().Patch(ctx, snapshot, client.MergeFrom(before))
}

func (s *standIn) handleGroup(ctx context.Context, group *v1alpha1.ThinGroupSnapshot) error {
	s.mu.Lock()
	condition, keeps := s.onSnapshots(), s.keeps
	s.mu.Unlock()
	before := group.DeepCopy()
	if group.DeletionTimestamp != nil {
		if keeps || !controllerutil.RemoveFinalizer(group, v1alpha1.VolumeFinalizer) {
			return nil
		}
		return s.Patch(ctx, group, client.MergeFrom(before))
	}
	if condition == nil || len(group.Status.Conditions) > 0 {
		return nil
	}
	condition.ObservedGeneration = group.Generation
	apimeta.SetStatusCondition(&group.Status.Conditions, *condition)
	if condition.Status == metav1.ConditionTrue {
		now := metav1.NowMicro()
		now.Time = now.Truncate(time.Microsecond)
		group.Status.CreationTime = &now
	}
	return s.Status().Patch(ctx, group, client.MergeFrom(before))
}
