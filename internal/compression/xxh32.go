package compression

import (
	"encoding/binary"
	"math/bits"
)

// xxh32 is the checksum of LZ4 frames, xxHash of 32 bits with the seed 0.
func xxh32(b []byte) uint32 {
	const p1, p2, p3, p4, p5 uint32 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
	h, n := p5, uint32(len(b))
	if len(b) >= 16 {
		var v0, v1, v2, v3 uint32 = p1, p2, 0, 0
		v0 += p2
		v3 -= p1
		for ; len(b) >= 16; b = b[16:] {
			v0 = bits.RotateLeft32(v0+p2*binary.LittleEndian.Uint32(b), 13) * p1
			v1 = bits.RotateLeft32(v1+p2*binary.LittleEndian.Uint32(b[4:]), 13) * p1
			v2 = bits.RotateLeft32(v2+p2*binary.LittleEndian.Uint32(b[8:]), 13) * p1
			v3 = bits.RotateLeft32(v3+p2*binary.LittleEndian.Uint32(b[12:]), 13) * p1
		}
		h = bits.RotateLeft32(v0, 1) + bits.RotateLeft32(v1, 7) + bits.RotateLeft32(v2, 12) + bits.RotateLeft32(v3, 18)
	}
	h += n
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+p3*binary.LittleEndian.Uint32(b), 17) * p4
	}
	for _, c := range b {
		h = bits.RotateLeft32(h+p5*uint32(c), 11) * p1
	}
	h = (h ^ h>>15) * p2
	h = (h ^ h>>13) * p3
	return h ^ h>>16
}
