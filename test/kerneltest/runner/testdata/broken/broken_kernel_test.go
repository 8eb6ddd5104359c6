//go:build kernel

package broken

var broken int = "not a number"
