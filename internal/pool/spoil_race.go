//go:build race

package pool

// keptBytesMin is the least memory that is kept: the batches of tests are small.
const keptBytesMin = 64

// spoil overwrites memory that is given back, so that a test under the race detector finds who still looks at it.
func spoil(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
}
