// Package serverflags has what the flags of the node plugin and of the controller have in common: where they serve, and how
// they reach the API server. Each of them embeds [Options] in its own.
//
// [Refusals] collects what is wrong with flags, so that an admin sees all of it at once; see its example.
package serverflags
