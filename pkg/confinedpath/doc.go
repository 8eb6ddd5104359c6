// Package confinedpath opens paths that somebody else chose, below one directory and nowhere else.
//
// A path is first checked as text, then resolved by the kernel in one system call that follows no symbolic link and does
// not leave the directory (openat2(2), since Linux 5.6). What comes back is a descriptor, not a path: nothing that happens
// to the path afterwards changes what the descriptor stands for. A mount below the directory may be entered.
//
//	root, err := confinedpath.OpenRoot("/var/lib/kubelet")
//	directory, err := root.Open("/var/lib/kubelet/pods/…/mount")
package confinedpath
