package node

import (
	"context"
	"errors"
	"path/filepath"
)

// Serve sets the node up, starts containerd, and serves the agent until ctx ends.
func Serve(ctx context.Context, configFile string) error {
	config, err := readConfig(configFile)
	if err != nil {
		return err
	}
	for _, step := range []func(Config) error{setUpKernel, setUpNetwork, writeContainerd, writeKubernetes} {
		if err := step(config); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	services := &services{config: config}
	defer services.running.Wait()
	defer cancel()
	services.start(ctx, filepath.Join(HostPath(config.Containerd), "containerd"), "containerd", "--config", containerdConfig)
	if err := awaitContainerd(ctx); err != nil {
		return err
	}
	return errors.Join(serveAgent(ctx, config, services), ctx.Err())
}
