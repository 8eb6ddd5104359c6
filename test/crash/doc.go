// Package crash has the tests that cut the power of a pool at work and look at what is left of it, in two ways.
//
// A power cut (powercut_uml_test.go) kills a User Mode Linux guest at a random moment and boots it again on the same disks. All
// that the guest's kernel had sent to its disks is there, so what is tested is every moment, those of recovery included.
//
// A strict cut (package strictcut) records what reaches the disk below the pool, and when it was flushed, and goes back
// to moments of the recording with all that was not flushed by then missing, or some of it. So what is tested is every order in which
// a disk may lose what it was not told to keep.
//
// Both do the same: package load works on the pool, package history knows what must hold, package inspect looks.
// docs/testing-crash.md says how to run and replay them.
package crash
