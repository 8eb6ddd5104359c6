package agent

import (
	"context"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

const (
	// stopLimit is how long reconciles in flight may take once the agent is told to stop. It fits, with the CSI server's
	// own limit, into the 30 s that a pod has.
	stopLimit = 15 * time.Second

	// cacheLimit is how long the first lists may take: for ever, because the pods' volumes need no API server, and a
	// process that gave up would take their service down with it.
	cacheLimit = 10 * 365 * 24 * time.Hour
)

// newManager makes a manager that watches this node's objects only.
func newManager(ctx context.Context, c Config) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	own := cache.ByObject{Field: fields.OneTermEqualSelector("spec.nodeName", c.NodeName)}
	return manager.New(c.API, manager.Options{
		Scheme:         scheme,
		MapperProvider: knownKinds,
		Cache: cache.Options{
			ByObject: map[client.Object]cache.ByObject{
				&v1alpha1.NodeThinPool{}: own, &v1alpha1.ThinVolume{}: own, &v1alpha1.ThinSnapshot{}: own, &v1alpha1.ThinGroupSnapshot{}: own,
			},
			DefaultTransform:            cache.TransformStripManagedFields(),
			ReaderFailOnMissingInformer: true,
		},
		// A reconcile that follows a write sees it; otherwise the write would be done, and counted, twice.
		Client:                  client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: ptr.To(true)}},
		Logger:                  klog.FromContext(ctx),
		Metrics:                 server.Options{BindAddress: "0"}, // the node serves them itself
		GracefulShutdownTimeout: ptr.To(stopLimit),
		Controller:              config.Controller{CacheSyncTimeout: cacheLimit, SkipNameValidation: ptr.To(true)},
	})
}

// knownKinds maps the kinds without asking the API server for what it knows: the node needs few, and may have to start
// while the server is away.
func knownKinds(*rest.Config, *http.Client) (meta.RESTMapper, error) {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("NodeThinPool"), meta.RESTScopeRoot)
	mapper.Add(v1alpha1.GroupVersion.WithKind("ThinVolume"), meta.RESTScopeRoot)
	mapper.Add(v1alpha1.GroupVersion.WithKind("ThinSnapshot"), meta.RESTScopeRoot)
	mapper.Add(v1alpha1.GroupVersion.WithKind("ThinGroupSnapshot"), meta.RESTScopeRoot)
	return mapper, nil
}
