package toolchain

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Toolchain tells where the programs are. All paths are absolute.
type Toolchain struct {
	folders map[string]string
	own     string
}

// Build builds what is missing below cache and returns where everything is. progress gets a line now and then. Two builds
// at the same time are harmless; the second to end finds its work done.
func Build(ctx context.Context, cache string, progress func(string)) (*Toolchain, error) {
	repository, err := Repository(ctx)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(cache, "tools")
	t := &Toolchain{folders: make(map[string]string, len(sets)), own: filepath.Join(root, "lab")}
	for _, s := range sets {
		folder, err := s.ensure(ctx, filepath.Join(repository, "test", "lab", "tools"), root, progress)
		if err != nil {
			return nil, err
		}
		t.folders[s.name] = folder
	}
	if err := buildOwn(ctx, repository, t.own); err != nil {
		return nil, err
	}
	return t, nil
}

// Program returns the path of a program of a set: Program("containerd", "ctr").
func (t *Toolchain) Program(set, name string) string { return filepath.Join(t.folders[set], name) }

// Folder returns the folder of a set.
func (t *Toolchain) Folder(set string) string { return t.folders[set] }

// Own returns the path of one of the lab's own programs: lab, lab-node or pause.
func (t *Toolchain) Own(name string) string { return filepath.Join(t.own, name) }

// ensure builds the set unless it is there and returns its folder.
func (s set) ensure(ctx context.Context, tools, root string, progress func(string)) (string, error) {
	key, err := s.key(tools)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.name, err)
	}
	folder := filepath.Join(root, s.name+"-"+s.version+"-"+key)
	if s.complete(folder) {
		return folder, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	temporary, err := os.MkdirTemp(root, ".building-"+s.name+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temporary)
	if err := s.build(ctx, tools, temporary, progress); err != nil {
		return "", err
	}
	if !s.complete(temporary) {
		return "", fmt.Errorf("building %s %s did not make all of %v", s.name, s.version, s.programs)
	}
	if err := os.Chmod(temporary, 0o755); err != nil {
		return "", err
	}
	// Rename fails when another build was faster.
	if err := os.Rename(temporary, folder); err != nil && !s.complete(folder) {
		return "", err
	}
	return folder, nil
}

func (s set) complete(folder string) bool {
	for _, program := range s.programs {
		if info, err := os.Stat(filepath.Join(folder, program)); err != nil || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}
