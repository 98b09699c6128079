//go:build !race

package pool

// keptBytesMin is the least memory that is kept. Less costs Go little.
const keptBytesMin = 4 << 10

func spoil([]byte) {}
