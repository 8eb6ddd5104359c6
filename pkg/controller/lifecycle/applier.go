package lifecycle

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/volumeid"
)

// FieldManager owns the fields of ThinPools that come from the chart's values.
const FieldManager = "csi-dm-values"

// Applier applies, once at its start, the ThinPools of a file that the chart writes of its values. The chart cannot hold them
// as objects: Helm refuses an object whose kind is installed together with it. And what the chart does not hold, its
// removal does not delete: a ThinPool that is not in the file any more stays.
type Applier struct {
	Client client.Client
	Pools  []NamedPool
}

// NamedPool is an entry of the file.
type NamedPool struct {
	Name string         `json:"name"`
	Spec map[string]any `json:"spec"`
}

// ReadPools reads the file: a YAML list of name and spec. The API server checks the specs.
func ReadPools(path string) ([]NamedPool, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--pools-file: %w", err)
	}
	return parsePools(content)
}

func parsePools(content []byte) ([]NamedPool, error) {
	var pools []NamedPool
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, nil
	}
	if err := yaml.UnmarshalStrict(content, &pools); err != nil {
		return nil, fmt.Errorf("--pools-file: want a list of name and spec: %w", err)
	}
	seen := map[string]bool{}
	for i, pool := range pools {
		if err := volumeid.CheckPool(fmt.Sprintf("--pools-file: entry %d: name", i), pool.Name); err != nil {
			return nil, err
		}
		if seen[pool.Name] {
			return nil, fmt.Errorf("--pools-file: entry %d: name %q is there twice", i, pool.Name)
		}
		seen[pool.Name] = true
	}
	return pools, nil
}

// Start applies the pools and returns. What the API server refuses is logged and tried again, less and less often: the kinds
// may be younger than this process.
func (a *Applier) Start(ctx context.Context) error {
	backoff := wait.Backoff{Duration: time.Second, Factor: 2, Steps: 1 << 30, Cap: time.Minute, Jitter: 0.1}
	pending := a.Pools
	for {
		pending = a.apply(ctx, pending)
		if len(pending) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff.Step()):
		}
	}
}

// apply returns those that are to be tried again.
func (a *Applier) apply(ctx context.Context, pools []NamedPool) []NamedPool {
	logger := klog.FromContext(ctx)
	var failed []NamedPool
	for _, pool := range pools {
		object := &unstructured.Unstructured{Object: map[string]any{"spec": pool.Spec}}
		object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("ThinPool"))
		object.SetName(pool.Name)
		err := a.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(FieldManager))
		if err == nil {
			logger.Info("Applied pool of the chart's values", "pool", pool.Name)
			continue
		}
		failed = append(failed, pool)
		if apierrors.IsConflict(err) {
			logger.Error(err, "Somebody else has changed this pool; make the chart's values and the ThinPool agree", "pool", pool.Name)
			continue
		}
		logger.Error(err, "Cannot apply pool of the chart's values", "pool", pool.Name)
	}
	return failed
}
