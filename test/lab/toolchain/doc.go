// Package toolchain builds the programs of the lab from Go modules and keeps them.
//
// A set of programs is built once per content of what goes into it: the Go version, its module files or its pinned versions,
// and the build's flags. The result is a folder of the cache that is made under another name and renamed when it is
// complete, so a build that was interrupted leaves nothing that could be taken for a result:
//
//	$CSI_DM_CACHE/tools/kubernetes-v1.37.1-0f3a…/kubernetes
//	$CSI_DM_CACHE/tools/containerd-v2.4.2-77b1…/{containerd,containerd-shim-runc-v2,ctr}
//
// All programs are static. The cold build of Kubernetes takes five minutes on two cores; everything else together takes two.
package toolchain
