// Package admin answers the questions of an admin on the node: which pools and volumes are there, in which state. The
// agent serves them as HTTP and JSON on a unix socket that only root can open, because it alone can read a pool's registry
// while the pool is open; csi-dm pool info and csi-dm volume list are its clients.
//
// The names of a pool's figures are those of Docker's devicemapper driver in docker info, as far as it had them (table.go).
package admin
