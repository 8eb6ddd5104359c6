// Package cluster is what the end-to-end tests and the demo do with a lab's cluster: make claims and pods, wait for what
// becomes of them, look at what a node holds, and collect what a person would want to see when a wait was in vain.
//
// Every wait ends at the deadline of its context or after its own limit, whichever comes first, with an error that says what
// was waited for and how far it got.
package cluster
