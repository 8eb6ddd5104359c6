// Package job is the contract between the runner on the host and process 1 of the guest: the runner writes a [Job] into a
// file, the guest runs its steps and reports each [Event] over a channel.
package job
