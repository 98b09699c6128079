package stream

import (
	"encoding/binary"
	"hash/crc32"
)

// Sum is the checksum of messages one after the other that Input.CRC describes. The zero value is that of none. Methods
// return the sum of what s stands for and of what is added.
type Sum uint32

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Message adds a message.
func (s Sum) Message(sequence uint64, payload []byte) Sum {
	return Sum(crc32.Update(uint32(s.sequence(sequence)), castagnoli(), payload))
}

// Summed adds a message of whose payload the checksum and the size are known.
func (s Sum) Summed(sequence uint64, crc uint32, size int) Sum {
	return Sum(Combine(uint32(s.sequence(sequence)), crc, size))
}

func (s Sum) sequence(n uint64) Sum {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	return Sum(crc32.Update(uint32(s), castagnoli(), b[:]))
}

// Messages adds messages.
func (s Sum) Messages(m *Messages) Sum {
	for i := range m.Len() {
		s = s.Message(m.Sequence[i], m.Payload(i))
	}
	return s
}

// Run adds messages whose own sum is known, with the number of them and that of their payload bytes.
func (s Sum) Run(run Sum, messages, bytes int) Sum {
	return Sum(Combine(uint32(s), uint32(run), 8*messages+bytes))
}

// Since is the inverse of Run: the sum of the messages that were added after before, with the number of them and that of
// their payload bytes.
func (s Sum) Since(before Sum, messages, bytes int) Sum {
	return s ^ Sum(Combine(uint32(before), 0, 8*messages+bytes))
}

// Combine returns the CRC32C of two stretches of bytes, one behind the other, from the checksums of both and the size of
// the second: so the checksums of a file and of a batch come of one look at the bytes. Bits of a CRC are coefficients of
// a polynomial, and bytes that follow multiply it by x^8 each.
func Combine(first, second uint32, size int) uint32 {
	if first == 0 {
		return second
	}
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
