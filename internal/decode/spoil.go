//go:build !race

package decode

func spoil([]byte) {}
