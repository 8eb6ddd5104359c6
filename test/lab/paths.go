package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/csi-dm/csi-dm/test/lab/control"
)

// Environment variables that move the lab.
const (
	// CacheVariable names the folder for everything that outlives a lab; the default is ~/.cache/csi-dm.
	CacheVariable = "CSI_DM_CACHE"
	// NameVariable names one of several labs on a machine: a DNS label. The default lab has no name.
	NameVariable = "CSI_DM_LAB"
)

// Paths are the folders of one lab.
type Paths struct {
	// Cache outlives labs: programs, images, base images.
	Cache string
	// Run is on a tmpfs: socket, certificates, kubeconfig, logs of the control plane, etcd's data.
	Run string
	// Disks holds the nodes' disks and logs.
	Disks string
}

var labName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?$`)

// DefaultPaths returns the paths the environment asks for.
func DefaultPaths() (Paths, error) {
	cache := os.Getenv(CacheVariable)
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return Paths{}, fmt.Errorf("%s is not set and there is no home directory: %w", CacheVariable, err)
		}
		cache = filepath.Join(home, ".cache", "csi-dm")
	}
	if !filepath.IsAbs(cache) {
		return Paths{}, fmt.Errorf("%s is %q: want an absolute path", CacheVariable, cache)
	}
	suffix := ""
	if name := os.Getenv(NameVariable); name != "" {
		if !labName.MatchString(name) {
			return Paths{}, fmt.Errorf("%s is %q: want a DNS label of at most 20 characters", NameVariable, name)
		}
		suffix = "-" + name
	}
	return Paths{
		Cache: filepath.Clean(cache),
		Run:   "/run/csi-dm-lab" + suffix,
		Disks: filepath.Join(cache, "lab"+suffix),
	}, nil
}

// Socket is the supervisor's socket.
func (p Paths) Socket() string { return filepath.Join(p.Run, control.Socket) }

// Kubeconfig is the kubeconfig for use from anywhere on the machine.
func (p Paths) Kubeconfig() string { return filepath.Join(p.Run, "kubeconfig") }

// InsideKubeconfig is the one for processes inside the lab's namespaces.
func (p Paths) InsideKubeconfig() string { return filepath.Join(p.Run, "supervisor.kubeconfig") }

// Logs is the folder of the supervisor's and the control plane's logs.
func (p Paths) Logs() string { return filepath.Join(p.Run, "logs") }

// Tools is the folder with kubectl, helm and the other programs for people, under their usual names.
func (p Paths) Tools() string { return filepath.Join(p.Run, "bin") }

// Images is the folder of the archives of the lab's own images.
func (p Paths) Images() string { return filepath.Join(p.Cache, "images") }
