package file

// combine returns the checksum (CRC32C) of two stretches of bytes, one behind the other, from the checksums of both and
// the size of the second: so the checksum of a file and that of a batch come of one look at the bytes. Bits of a CRC are
// coefficients of a polynomial, and bytes that follow multiply it by x^8 each.
func combine(first, second uint32, size int) uint32 {
	power := uint32(1) << 23 // x^8, from the highest bit down
	for ; size > 0; size >>= 1 {
		if size&1 != 0 {
			first = multiply(power, first)
		}
		power = multiply(power, power)
	}
	return first ^ second
}

// multiply returns the product of two polynomials modulo that of CRC32C.
func multiply(a, b uint32) (product uint32) {
	const polynomial = 0x82f63b78
	for ; a != 0; a <<= 1 {
		product ^= b & -(a >> 31)
		b = b>>1 ^ polynomial&-(b&1)
	}
	return product
}
