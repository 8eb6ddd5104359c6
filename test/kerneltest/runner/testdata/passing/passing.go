// Package passing has a test that passes and covers half of its statements.
package passing

func double(n int) int { return 2 * n }

func triple(n int) int { return 3 * n } //nolint:unused // shows in the coverage
