// Package parameters reads the parameters of csi-dm's StorageClasses, and the attributes of inline ephemeral volumes, which are much
// the same (inline.go).
//
// The keys form an allow-list: a key that is not known is refused, because a typing error that is silently ignored gives a
// volume that nobody asked for. csi-provisioner takes out the keys that begin with csi.storage.k8s.io/ before it calls the
// driver, except for the three that tell which claim the volume is for ([Claim]).
package parameters
