// Package history knows what must be true of a pool after a crash. It is told, as they happen, which operations begin and
// which are acknowledged ([Event]), and keeps what follows from that: which volumes must, may or must not be there, how large
// they may be, and which version of each chunk of data they may hold ([History]).
//
// Data is written in chunks. Every write of a chunk has a version, a number that no other write of the whole test has, and
// the content of a version is known (package content): so what is read back tells which write it came from.
package history
