// Package unixsocket makes unix sockets for servers that outlive their processes' restarts: a socket appears under its name
// in one step, already listening and for root alone, replaces one that a process before left behind, and is not taken away
// from a process that came after.
package unixsocket
