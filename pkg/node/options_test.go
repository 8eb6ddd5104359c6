package node

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/csi-dm/csi-dm/pkg/serverflags"
)

func TestOptions(t *testing.T) {
	valid := func() Options {
		o := DefaultOptions()
		o.NodeID = "node-1.example.org"
		return o
	}
	o := valid()
	if err := o.Validate(); err != nil {
		t.Fatalf("the defaults with a node's name: %v", err)
	}
	for flag, change := range map[string]func(*Options){
		"--endpoint":                func(o *Options) { o.Endpoint = "tcp://127.0.0.1:1" },
		"--node-id":                 func(o *Options) { o.NodeID = "Node_1" },
		"--http-endpoint":           func(o *Options) { o.HTTPEndpoint = "9809" },
		"--kubelet-dir":             func(o *Options) { o.KubeletDirectory = "kubelet" },
		"--state-dir":               func(o *Options) { o.StateDirectory = "" },
		"--run-dir":                 func(o *Options) { o.RunDirectory = "/run/../etc" },
		"--loopback-dir":            func(o *Options) { o.LoopbackDirectory = "/" },
		"--max-volumes-per-node":    func(o *Options) { o.MaximumVolumes = -1 },
		"--xfs-nospace-max-retries": func(o *Options) { o.XFSNoSpaceRetries = -2 },
		"--trim-interval":           func(o *Options) { o.TrimInterval = time.Second },
		"--ephemeral-size-limit":    func(o *Options) { o.EphemeralSizeLimit = "-1Gi" },
		"--kube-api-qps":            func(o *Options) { o.APIQPS = 0 },
		"--kube-api-burst":          func(o *Options) { o.APIBurst = 0 },
	} {
		o := valid()
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), flag+":") || !strings.Contains(err.Error(), "not allowed") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// Every flag is bound to an option of its own, and a flag that is not given changes nothing.
func TestFlags(t *testing.T) {
	o := DefaultOptions()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	o.AddFlags(flags)
	err := flags.Parse([]string{
		"--endpoint=/e", "--node-id=n", "--http-endpoint=", "--kubelet-dir=/k", "--state-dir=/s", "--run-dir=/r", "--loopback-dir=/l",
		"--kubeconfig=/c", "--max-volumes-per-node=5", "--xfs-nospace-max-retries=-1", "--kube-api-qps=7", "--kube-api-burst=8",
		"--ephemeral-size-limit=10Gi", "--trim-interval=1h",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Options{
		Options: serverflags.Options{Endpoint: "/e", Kubeconfig: "/c", APIQPS: 7, APIBurst: 8}, NodeID: "n", KubeletDirectory: "/k", StateDirectory: "/s", RunDirectory: "/r", LoopbackDirectory: "/l",
		MaximumVolumes: 5, XFSNoSpaceRetries: -1, EphemeralSizeLimit: "10Gi", TrimInterval: time.Hour,
	}
	if o != want {
		t.Errorf("got %+v, want %+v", o, want)
	}
}

func TestEphemeralSizeLimit(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "1": 1, "10Gi": 10 << 30, "1.5Ki": 1536, "0": -1, "0.5": -1, "-1": -1, "ten": -1} {
		o := Options{EphemeralSizeLimit: text}
		if got, err := o.ephemeralSizeLimit(); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}
