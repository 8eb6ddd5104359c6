//go:build kernel

package empty

func nothing() {}

var _ = nothing
