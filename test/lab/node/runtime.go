package node

import (
	"os"
	"path/filepath"
)

// runtimeProgram is what containerd's shim runs as runc: crun, which is written in C. `runc --version` takes half
// a second in a guest, and several processes of it start each container: a pod takes half as long again to run, and to end.
const runtimeProgram = "/usr/local/sbin/lab-runtime"

// runtimeScript: Debian's crun 1.8 refuses bundles of a later specification than 1.0. containerd 2.4 names 1.3, though the lab's
// pods use nothing that came since.
const runtimeScript = `#!/bin/busybox sh
previous=
for argument in "$@"; do
	if [ "$previous" = --bundle ]; then
		sed -i 's/"ociVersion":"1\.[0-9]*\.[0-9]*"/"ociVersion":"1.0.2"/' "$argument/config.json"
	fi
	previous=$argument
done
exec /usr/bin/crun "$@"
`

func writeRuntime() error {
	if err := os.MkdirAll(filepath.Dir(runtimeProgram), 0o755); err != nil {
		return err
	}
	return os.WriteFile(runtimeProgram, []byte(runtimeScript), 0o755)
}
