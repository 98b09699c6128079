package compression

import "testing"

// BenchmarkDecompress restores a message of packed JSON. It allocates nothing.
func BenchmarkDecompress(b *testing.B) {
	for _, algorithm := range Algorithms() {
		b.Run(algorithm, func(b *testing.B) {
			c, err := NewCompressor(algorithm)
			if err != nil {
				b.Fatal(err)
			}
			packed, err := c.Compress(lines(250_000))
			if err != nil {
				b.Fatal(err)
			}
			d := NewDecompressor(most)
			b.SetBytes(250_000)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Decompress(packed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
