// Package version tells which csi-dm this is.
package version

import "runtime/debug"

// version is set by the linker: -X github.com/csi-dm/csi-dm/pkg/version.version=v0.1.0.
var version string

// String is the version that the binary was built as, or the module's version where it was built without one.
func String() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
