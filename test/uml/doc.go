// Package uml runs User Mode Linux guests: a Linux kernel as a process group of this machine, ready in a second or two,
// with device mapper, file systems and networking of its own. It needs no hardware virtualisation.
//
// A [Machine] describes the guest: memory, disks, network, the program that runs as its process 1. [Machine.Start] boots
// it and returns a [Guest], which is waited for, read from and, in the end, powered off or cut:
//
//	machine := uml.Machine{
//		Name:      "node-a",
//		Memory:    1 << 30,
//		Disks:     []string{"/var/cache/node-a.disk"},
//		Networks:  []string{"transport=tap,ifname=tap0"},
//		Init:      "/var/cache/node-init",
//		Words:     []string{"NODE_NAME=node-a"},
//		Directory: "/run/node-a",
//		Console:   os.Stdout,
//	}
//	guest, err := machine.Start(ctx)
//	…
//	err = guest.Wait()      // the guest powered itself off (nil), or ended otherwise
//	err = guest.PowerCut()  // or: pull the plug
//
// The guest's root is the host's root directory, read-only, so every program of the host is there. What the guest needs
// besides is up to its process 1; package guest (below this one) has the steps most of them share.
//
// A power cut loses what the guest had not flushed and keeps what it had: boot a second Machine on the same Disks to see
// what survived.
package uml
