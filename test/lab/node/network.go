package node

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// setUpNetwork gives the node its address and name. vec0 is the interface on the lab's bridge.
func setUpNetwork(config Config) error {
	command := exec.Command("ip", "-batch", "-")
	command.Stdin = strings.NewReader(strings.Join([]string{
		"link set lo up",
		"address add " + config.Address + "/24 dev vec0",
		"link set vec0 up",
		"route add default via " + config.Gateway,
	}, "\n") + "\n")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("ip: %w: %s", err, strings.TrimSpace(string(output)))
	}
	for file, content := range map[string]string{
		"/etc/hostname":    config.Name + "\n",
		"/etc/hosts":       "127.0.0.1 localhost\n" + config.Address + " " + config.Name + "\n",
		"/etc/resolv.conf": "",
		"/etc/machine-id":  fmt.Sprintf("%032x\n", config.Address),
	} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
