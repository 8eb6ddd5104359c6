package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/google/renameio/v2"

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
