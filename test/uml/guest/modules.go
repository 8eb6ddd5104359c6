package guest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoModule reports a kernel module that the running kernel neither has built in nor beside it.
var ErrNoModule = errors.New("no such kernel module")

// modulesRoot is where Debian's user-mode-linux keeps its modules. modprobe looks below /lib/modules, and a bare Debian
// has no modprobe, hence the loading by hand.
const modulesRoot = "/usr/lib/uml/modules"

// LoadModules loads kernel modules and what they depend on. Modules that are loaded or built in are skipped; dashes and
// underscores in names are the same. It needs no other program and no mount.
func LoadModules(names ...string) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	directory := filepath.Join(modulesRoot, unix.ByteSliceToString(name.Release[:]))
	dependencies, err := parseFile(directory, "modules.dep", parseDependencies)
	if err != nil {
		return err
	}
	builtin, err := parseFile(directory, "modules.builtin", parseDependencies)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := builtin[canonical(name)]; ok {
			continue
		}
		files, ok := dependencies[canonical(name)]
		if !ok {
			return fmt.Errorf("%w: %s (not below %s)", ErrNoModule, name, directory)
		}
		// The file comes first, then what it needs, each before its own needs: so the last is loaded first.
		for i := len(files) - 1; i >= 0; i-- {
			if err := load(filepath.Join(directory, files[i])); err != nil {
				return err
			}
		}
	}
	return nil
}

func load(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	err = unix.FinitModule(int(file.Fd()), "", 0)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %w", path, err)
	}
	return nil
}

func parseFile[T any](directory, name string, parse func(io.Reader) (T, error)) (T, error) {
	content, err := os.ReadFile(filepath.Join(directory, name))
	if err != nil {
		var none T
		return none, err
	}
	return parse(bytes.NewReader(content))
}

// parseDependencies reads lines "FILE: FILE …" of modules.dep, or "FILE" of modules.builtin (depmod(8)), and returns the
// files of each module, its own first, by canonical name.
func parseDependencies(reader io.Reader) (map[string][]string, error) {
	result := make(map[string][]string)
	scanner := bufio.NewScanner(reader)
	for scanner.Scan() {
		files := strings.Fields(strings.Replace(scanner.Text(), ":", " ", 1))
		if len(files) == 0 {
			continue
		}
		result[canonical(strings.TrimSuffix(filepath.Base(files[0]), ".ko"))] = files
	}
	return result, scanner.Err()
}

func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }
