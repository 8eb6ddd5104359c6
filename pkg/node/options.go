package node

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/csi-dm/csi-dm/api/v1alpha1"
	"github.com/csi-dm/csi-dm/pkg/serverflags"
)

// leastTrimInterval keeps trims from being all that a node does.
const leastTrimInterval = 10 * time.Second

// DefaultRunDirectory is where the agent keeps what is gone after a boot, unless it is told otherwise.
const DefaultRunDirectory = "/run/csi-dm"

// Options are what the node plugin is started with.
type Options struct {
	serverflags.Options
	// NodeID is the Kubernetes node's name.
	NodeID string
	// KubeletDirectory is kubelet's root directory, at the same path as on the host.
	KubeletDirectory string
	// StateDirectory outlives a boot of the node.
	StateDirectory string
	RunDirectory   string
	// LoopbackDirectory is for the files of loopback pools; empty for none.
	LoopbackDirectory string
	// MaximumVolumes per node, 0 for no limit.
	MaximumVolumes int64
	// EphemeralSizeLimit is the largest size of an inline ephemeral volume, a quantity; empty: there are none.
	EphemeralSizeLimit string
	// TrimInterval is how often mounted file systems are trimmed, 0 for never.
	TrimInterval time.Duration
	// XFSNoSpaceRetries: 0 or more, or -1 for ever.
	XFSNoSpaceRetries int
}

// DefaultOptions are what the flags default to.
func DefaultOptions() Options {
	const kubelet = "/var/lib/kubelet"
	return Options{
		Options: serverflags.Options{
			Endpoint:     "unix://" + kubelet + "/plugins/" + v1alpha1.DriverName + "/csi.sock",
			HTTPEndpoint: ":9809",
			APIQPS:       50,
			APIBurst:     100,
		},
		KubeletDirectory:  kubelet,
		StateDirectory:    "/var/lib/csi-dm",
		RunDirectory:      DefaultRunDirectory,
		TrimInterval:      24 * time.Hour,
		XFSNoSpaceRetries: 10,
	}
}

// AddFlags binds the options to flags.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	o.Options.AddFlags(flags)
	flags.StringVar(&o.NodeID, "node-id", o.NodeID, "name of the Kubernetes node (required)")
	flags.StringVar(&o.KubeletDirectory, "kubelet-dir", o.KubeletDirectory, "kubelet's root directory, at the same path as on the host")
	flags.StringVar(&o.StateDirectory, "state-dir", o.StateDirectory, "directory for what must outlive a boot of the node")
	flags.StringVar(&o.RunDirectory, "run-dir", o.RunDirectory, "directory for what need not: the admin's socket, the lock of the node")
	flags.StringVar(&o.LoopbackDirectory, "loopback-dir", o.LoopbackDirectory, "directory for the files of loopback pools; empty: there can be none")
	flags.Int64Var(&o.MaximumVolumes, "max-volumes-per-node", o.MaximumVolumes, "volumes that the scheduler may put on the node; 0 for no limit")
	flags.StringVar(&o.EphemeralSizeLimit, "ephemeral-size-limit", o.EphemeralSizeLimit, "largest size of an inline ephemeral volume, such as 10Gi; empty: pods can have none")
	flags.DurationVar(&o.TrimInterval, "trim-interval", o.TrimInterval, "how often mounted file systems give back to their pools what they do not use any more; 0 for never")
	flags.IntVar(&o.XFSNoSpaceRetries, "xfs-nospace-max-retries", o.XFSNoSpaceRetries, "how often xfs tries again to write metadata to a full pool before it shuts down; -1 for ever")
}

// Validate refuses what cannot work; each error names the flag, its value and what is allowed.
func (o *Options) Validate() error {
	var refusals serverflags.Refusals
	o.Check(&refusals)
	if problems := validation.IsDNS1123Subdomain(o.NodeID); len(problems) > 0 {
		refusals.Add("node-id", o.NodeID, "must be the name of a Kubernetes node: "+strings.Join(problems, "; "))
	}
	for _, directory := range []struct {
		flag, path string
		optional   bool
	}{
		{"kubelet-dir", o.KubeletDirectory, false},
		{"state-dir", o.StateDirectory, false},
		{"run-dir", o.RunDirectory, false},
		{"loopback-dir", o.LoopbackDirectory, true},
	} {
		if directory.optional && directory.path == "" {
			continue
		}
		if !filepath.IsAbs(directory.path) || filepath.Clean(directory.path) != directory.path || directory.path == "/" {
			refusals.Add(directory.flag, directory.path, "must be an absolute path without empty, '.' or '..' parts")
		}
	}
	if o.MaximumVolumes < 0 {
		refusals.Add("max-volumes-per-node", o.MaximumVolumes, "must be 0 (no limit) or more")
	}
	if _, err := o.ephemeralSizeLimit(); err != nil {
		refusals.Add("ephemeral-size-limit", o.EphemeralSizeLimit, "must be a size greater than 0 such as 10Gi, or empty (no inline ephemeral volumes)")
	}
	if o.TrimInterval != 0 && o.TrimInterval < leastTrimInterval {
		refusals.Add("trim-interval", o.TrimInterval, "must be 0 (never) or "+leastTrimInterval.String()+" or more")
	}
	if o.XFSNoSpaceRetries < -1 {
		refusals.Add("xfs-nospace-max-retries", o.XFSNoSpaceRetries, "must be -1 (for ever), 0 or more")
	}
	return refusals.Err()
}

// ephemeralSizeLimit is the limit in bytes, 0 for none at all.
func (o *Options) ephemeralSizeLimit() (int64, error) {
	if o.EphemeralSizeLimit == "" {
		return 0, nil
	}
	quantity, err := resource.ParseQuantity(o.EphemeralSizeLimit)
	if err != nil {
		return 0, err
	}
	if limit := quantity.Value(); limit > 0 && quantity.CmpInt64(limit) == 0 {
		return limit, nil
	}
	return 0, fmt.Errorf("%q is no whole number of bytes greater than 0", o.EphemeralSizeLimit)
}
