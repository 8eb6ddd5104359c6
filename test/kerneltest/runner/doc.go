// Package runner runs kernel tests inside a User Mode Linux guest: it finds the packages that have any, builds their test
// binaries, boots a guest, has the binaries run there one after another, shows what they say while they run, and collects
// results and coverage.
//
// The way through the package is [Run]: find (packages.go), build (build.go), guest sessions (session.go), one report per
// package (report.go), coverage (coverage.go). All packages run in one guest. A package that hangs or crashes it is marked
// as failed, the end of the console is shown, and a new guest goes on with the next package.
package runner
