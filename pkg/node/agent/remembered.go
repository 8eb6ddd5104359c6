package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"k8s.io/klog/v2"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
)

// remembered is the settings of the node's pools as they were last seen, in a file.
type remembered struct {
	path string

	mu    sync.Mutex
	pools map[string]v1alpha1.PoolSettings
}

// rememberedFile is the file's content.
type rememberedFile struct {
	// Version of the layout; a newer one is not touched.
	Version int                              `json:"version"`
	Pools   map[string]v1alpha1.PoolSettings `json:"pools"`
}

const rememberedVersion = 1

// loadRemembered reads the file. One that does not exist is empty; one that cannot be read is an error rather than lost.
func loadRemembered(path string) (*remembered, error) {
	r := &remembered{path: path, pools: make(map[string]v1alpha1.PoolSettings)}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("remembered pools: %w", err)
	}
	var file rememberedFile
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, fmt.Errorf("remembered pools: %s: %w", path, err)
	}
	if file.Version != rememberedVersion {
		return nil, fmt.Errorf("remembered pools: %s has version %d, this driver knows %d", path, file.Version, rememberedVersion)
	}
	maps.Copy(r.pools, file.Pools)
	return r, nil
}

// put remembers a pool's settings; it writes only what differs.
func (r *remembered) put(pool string, settings v1alpha1.PoolSettings) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.pools[pool]; ok && sameJSON(known, settings) {
		return nil
	}
	changed := maps.Clone(r.pools)
	changed[pool] = *settings.DeepCopy()
	return r.write(changed)
}

// forget forgets a pool.
func (r *remembered) forget(pool string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.pools[pool]; !ok {
		return nil
	}
	changed := maps.Clone(r.pools)
	delete(changed, pool)
	return r.write(changed)
}

func (r *remembered) write(pools map[string]v1alpha1.PoolSettings) error {
	content, err := json.MarshalIndent(rememberedFile{Version: rememberedVersion, Pools: pools}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.path), 0o750); err != nil {
		return fmt.Errorf("remembered pools: %w", err)
	}
	if err := renameio.WriteFile(r.path, append(content, '\n'), 0o600); err != nil {
		return fmt.Errorf("remembered pools: %w", err)
	}
	r.pools = pools
	return nil
}

// get gives a pool's settings.
func (r *remembered) get(pool string) (v1alpha1.PoolSettings, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	settings, ok := r.pools[pool]
	return settings, ok
}

func (r *remembered) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.pools))
}

func sameJSON(a, b any) bool {
	first, errFirst := json.Marshal(a)
	second, errSecond := json.Marshal(b)
	return errFirst == nil && errSecond == nil && string(first) == string(second)
}

// Retries of a pool that could not be opened, while its object has not been seen.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// OpenRemembered opens the pools that the node had when it was last told, without the API server. It returns when each has
// been tried once, or when ctx ends; it goes on trying until lifetime ends or the objects are seen, whose reconcile then
// does so. Run waits for what is still under way.
func (a *Agent) OpenRemembered(ctx, lifetime context.Context) {
	logger := klog.FromContext(lifetime)
	var tried sync.WaitGroup
	seen, stop := context.WithCancel(lifetime)
	a.opening.Go(func() {
		defer stop()
		a.manager.GetCache().WaitForCacheSync(lifetime)
	})
	for _, name := range a.remembered.names() {
		a.config.Pools.Expect(name, nil)
		tried.Add(1)
		a.opening.Go(func() {
			err := a.openRemembered(lifetime, name)
			tried.Done()
			for wait := firstRetry; err != nil; wait = min(2*wait, lastRetry) {
				logger.Error(err, "Pool that the node had cannot be opened", "pool", name, "retry", wait)
				select {
				case <-time.After(wait):
				case <-seen.Done():
					return
				}
				err = a.openRemembered(lifetime, name)
			}
		})
	}
	done := make(chan struct{})
	go func() { tried.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (a *Agent) openRemembered(ctx context.Context, name string) error {
	settings, ok := a.remembered.get(name)
	if !ok {
		return nil // forgotten meanwhile
	}
	config, err := a.pools.directories.config(name, settings)
	if err != nil {
		return err
	}
	if err := a.pools.open(ctx, config); err != nil {
		return err
	}
	a.pools.queue.add(v1alpha1.NodeThinPoolName(name, a.config.NodeName))
	return nil
}
