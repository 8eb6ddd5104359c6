package controller

import (
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	good := DefaultOptions()
	good.Namespace = "csi-dm"
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for flag, change := range map[string]func(*Options){
		"--endpoint":         func(o *Options) { o.Endpoint = "tcp://0.0.0.0:1" },
		"--http-endpoint":    func(o *Options) { o.HTTPEndpoint = "9808" },
		"--namespace":        func(o *Options) { o.Namespace = "" },
		"--agent-selector":   func(o *Options) { o.AgentSelector = "" },
		"--create-timeout":   func(o *Options) { o.CreateTimeout = 0 },
		"--node-gone-period": func(o *Options) { o.NodeGonePeriod = -1 },
		"--kube-api-qps":     func(o *Options) { o.APIQPS = 0 },
		"--kube-api-burst":   func(o *Options) { o.APIBurst = 0 },
	} {
		bad := good
		change(&bad)
		err := bad.Validate()
		if err == nil || !strings.Contains(err.Error(), flag+":") || strings.Count(err.Error(), "\n") != 0 {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
