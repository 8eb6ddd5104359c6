// Package kerneltest is what a kernel test needs: disks to ruin, and a check that nothing was left behind.
//
// A kernel test is a test of a file *_kernel_test.go that begins with the build tag
//
//	//go:build kernel
//
// and runs as root inside a User Mode Linux guest, where dm-thin-pool and the file systems are. `make kernel-test` finds,
// builds and runs it; docs/testing-kernel.md tells more. A test looks like this:
//
//	func TestPoolOnTwoDisks(t *testing.T) {
//		kerneltest.CheckClean(t) // first, so that it looks last
//		metadata := kerneltest.Disk(t, 16<<20)
//		data := kerneltest.Disk(t, 1<<30)
//		…
//	}
//
// [Disk] gives loop devices, which pass discards down. [MachineDisk] gives a whole disk of the virtual machine: few, larger,
// without discard passdown by dm-thin. [StartUdev] runs udev, which a guest has not by itself. What all tests of a package hold at a time must fit into the guest's memory
// (loop devices: only what was written counts) or, for disks of the machine, into their size.
//
// Outside of a guest every function ends the test with a failure: these tests overwrite disks and load kernel tables.
// Tests that call CheckClean must not be parallel with others, since devices and mounts belong to the whole kernel.
//
// The package depends on nothing of pkg/, so that it can judge all of it.
package kerneltest
