package agent

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/node/pools"
)

// inPool is an object that stands for something in a pool of the node: a ThinVolume, ThinSnapshot or ThinGroupSnapshot.
type inPool[T any] interface {
	client.Object
	DeepCopy() T
}

// kind is what volumes, snapshots and groups of snapshots differ in.
type kind[T inPool[T]] interface {
	// name is the controller's, and the key of an object in log lines.
	name() string
	empty() T
	about(T) about
	// valid tells whether anything can be made for the object.
	valid(T) bool
	// list gives the node's objects in a pool.
	list(ctx context.Context, reader client.Reader, poolName string) ([]T, error)
	// ensure makes what the object stands for, unless it was made, and brings it up to date. What it gives exists, even if
	// there is an error as well.
	ensure(ctx context.Context, pool pools.Pool, poolID string, object T) (*existing[T], error)
	// remove deletes what the object stands for; if nothing is there, that is not an error.
	remove(ctx context.Context, pool pools.Pool, object T) error
}

// about is what every object has, whatever its kind.
type about struct {
	nodeName, poolName string
	// made: what it stands for was made once. It must never be made again: it would be another.
	made bool
	// settled: nothing is left to do but, some day, to delete it.
	settled bool
	// changing: it was made, and is to be made different.
	changing bool

	conditions         *[]metav1.Condition
	observedGeneration *int64
}

// existing is what there is to say of something that exists: a sentence for the condition Ready, and the rest of the status.
type existing[T any] struct {
	message string
	fill    func(T)
}

var (
	_ kind[*v1alpha1.ThinVolume]        = volumes{}
	_ kind[*v1alpha1.ThinSnapshot]      = snapshots{}
	_ kind[*v1alpha1.ThinGroupSnapshot] = groups{}
)
