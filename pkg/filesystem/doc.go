// Package filesystem makes, looks at, checks and mounts the file systems that volumes have: ext4 and xfs ([Type]). It knows
// nothing of pools, and nothing of Kubernetes or CSI.
//
// # A tour
//
// A file system is made once, on a base, long before a pod asks: [Make] runs mkfs with a [Format], a type and the extra
// options that a user may choose. options.go is the allow-list of those and brings them into one order ([ParseMkfsOptions]),
// so that equal formats share a base. make_ext4.go and make_xfs.go pin everything else: the features are named one by one,
// whatever the installed mkfs would choose, and are those that the oldest supported kernels mount.
//
// On a pod's way to its volume no program runs. [ReadSuperblock] tells what is on a device, by a read of 4 KiB. [Mount] hands
// the options to the kernel one at a time (fsopen(2), fsconfig(2)), so that a comma adds none, and mounts on an open
// descriptor, so that nothing is mounted elsewhere than was checked. mount_options.go is the allow-list of what a user may set
// ([ParseMountOptions]); noinit_itable for ext4 and nouuid for xfs are always set. [Bind] shows a mount in a second place,
// [Inspect] tells what is mounted on a directory, [Unmount] removes it, [ReadUsage] is statfs(2). [SetXFSNoSpaceRetries] keeps
// an xfs on a full pool from hanging for ever.
//
// A file system that is smaller than its device is grown by an ioctl, when it is mounted ([MountOptions.Growing]) or later
// ([Grow]). [Sync] writes out what is held in memory for a device, wherever that is mounted, and says if some of it was lost.
//
// Off that way: [CheckExt4] runs e2fsck for a file system that carries the mark of an error, or that the kernel refused as
// [Damaged].
//
// # Errors
//
// Options that are not allowed match [ErrMkfsOption] and [ErrMountOption], and the message lists those that are. What the kernel
// refuses is a *[MountError] with the system call, the errno and the words that the kernel left in the mount's log.
package filesystem
