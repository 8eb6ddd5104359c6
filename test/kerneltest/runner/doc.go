// Package runner runs kernel tests inside a User Mode Linux guest: it finds the packages that have any, builds their test
// binaries, boots guests, has the binaries run there, shows what they say while they run, and collects
// results and coverage.
//
// The way through the package is [Run]: find (packages.go), build (build.go), guest sessions (session.go), one report per
// package (report.go), coverage (coverage.go). Each package has a guest of its own (lane.go), several at a time where
// [Options.Guests] says so. A package that hangs or crashes its guest is marked as failed, and the end of the console is shown.
package runner
