package toolchain

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
)

// set is a group of programs that are built together.
type set struct {
	name    string
	version string
	// module is a folder below test/lab/tools whose tool directives, or else main package, are built; empty for packages.
	module string
	// packages are installed at the set's version, outside of any module, if module is empty.
	packages []string
	// variables are the string variables to be set by the linker, as IMPORTPATH.NAME=VALUE.
	variables []string
	// programs is what must be there afterwards.
	programs []string
}

const kubernetesVersion = "v1.37.1"

// sets are all programs of the lab that come from other projects. Versions of sets with a module are for people: what is
// built is what the module's go.mod says, and a test holds the two together.
var sets = []set{
	{
		name: "kubernetes", version: kubernetesVersion, module: "kubernetes",
		variables: []string{
			"k8s.io/component-base/version.gitVersion=" + kubernetesVersion,
			"k8s.io/component-base/version.gitMajor=1",
			"k8s.io/component-base/version.gitMinor=37",
		},
		programs: []string{"kubernetes"},
	},
	{
		name: "containerd", version: "v2.4.2",
		packages: []string{
			"github.com/containerd/containerd/v2/cmd/containerd",
			"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
			"github.com/containerd/containerd/v2/cmd/ctr",
		},
		variables: []string{"github.com/containerd/containerd/v2/version.Version=v2.4.2"},
		programs:  []string{"containerd", "containerd-shim-runc-v2", "ctr"},
	},
	{
		name: "cni", version: "v1.9.1",
		packages: []string{
			"github.com/containernetworking/plugins/plugins/main/bridge",
			"github.com/containernetworking/plugins/plugins/main/loopback",
			"github.com/containernetworking/plugins/plugins/ipam/host-local",
		},
		programs: []string{"bridge", "loopback", "host-local"},
	},
	{
		name: "csi-provisioner", version: "v6.3.0", module: "csi-provisioner",
		variables: []string{"main.version=v6.3.0"},
		programs:  []string{"csi-provisioner"},
	},
	{
		name: "csi-sidecars", version: "v8.7.0", module: "csi-sidecars",
		programs: []string{"csi-resizer", "csi-snapshotter", "snapshot-controller", "csi-sanity"},
	},
	{
		name: "helm", version: "v4.3.1",
		packages:  []string{"helm.sh/helm/v4/cmd/helm"},
		variables: []string{"helm.sh/helm/v4/internal/version.version=v4.3.1"},
		programs:  []string{"helm"},
	},
}

// linkerFlags leaves out symbol table and debug information: the programs are read through the host's file system by every
// node, and Kubernetes shrinks from 230 to 160 MB.
func (s set) linkerFlags() string {
	flags := []string{"-s", "-w"}
	for _, variable := range s.variables {
		flags = append(flags, "-X", variable)
	}
	return strings.Join(flags, " ")
}

// key identifies everything that goes into the set, given the folder of the tools' modules.
func (s set) key(tools string) (string, error) {
	digest := sha256.New()
	fmt.Fprintf(digest, "%s %s/%s\n%s\n%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, s.linkerFlags(), s.version)
	for _, name := range s.packages {
		fmt.Fprintln(digest, name)
	}
	if s.module != "" {
		if err := hashFolder(digest, filepath.Join(tools, s.module)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(digest.Sum(nil))[:12], nil
}

// hashFolder writes names and content of a module's own files.
func hashFolder(digest io.Writer, folder string) error {
	var files []string
	for _, pattern := range []string{"go.mod", "go.sum", "*.go"} {
		found, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			return err
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		return fmt.Errorf("no Go module in %s", folder)
	}
	sort.Strings(files)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		fmt.Fprintf(digest, "%s %d\n%s", filepath.Base(file), len(content), content)
	}
	return nil
}
