// Command lab-node is the first program of a node of the lab, see package node.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/csi-dm/csi-dm/test/lab/node"
	"github.com/csi-dm/csi-dm/test/uml/guest"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		if err := node.Serve(context.Background(), os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "lab-node:", err)
			os.Exit(1)
		}
		return
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "lab-node is the first process of a node of the lab and of no use elsewhere")
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "lab-node:", node.Init())
	// A node without its services is off.
	guest.PowerOff()
}
