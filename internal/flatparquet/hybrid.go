package flatparquet

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// errDamaged says that the bytes of a page are none of the kind that its header names.
var errDamaged = errors.New("a page is damaged") //nolint:gochecknoglobals // a sentinel

// hybrid reads numbers of a fixed width of bits, up to 32, in runs: of one number many times, or of packed ones.
type hybrid struct {
	data  []byte
	width uint
	left  int    // numbers that are left of the run
	value uint32 // what all of them are, unless they are packed
	bits  []byte // of the packed run; nil for the other kind
	at    uint   // the next bit of it
}

func (h *hybrid) reset(data []byte, width uint) { *h = hybrid{data: data, width: width} }

// begin reads the head of the next run.
func (h *hybrid) begin() error {
	head, size := binary.Uvarint(h.data)
	if size <= 0 || head>>1 == 0 || head>>1 > 1<<31 {
		return errDamaged
	}
	h.data = h.data[size:]
	n := int(head >> 1)
	if head&1 == 0 {
		return h.repeated(n)
	}
	size = min(n*int(h.width), len(h.data)) // eight numbers have as many bytes as one has bits
	h.left, h.bits, h.at = n*8, h.data[:size:size], 0
	if h.width > 0 {
		h.left = min(h.left, size*8/int(h.width)) // writers may leave out what pads the last eight
	}
	h.data = h.data[size:]
	if h.left == 0 {
		return errDamaged
	}
	return nil
}

func (h *hybrid) repeated(n int) error {
	size := int(h.width+7) / 8
	if len(h.data) < size {
		return errDamaged
	}
	h.left, h.bits, h.value = n, nil, 0
	for i := range size {
		h.value |= uint32(h.data[i]) << (8 * i)
	}
	h.data = h.data[size:]
	return nil
}

// fill reads as many numbers as out has room for.
func (h *hybrid) fill(out []uint32) error {
	for len(out) > 0 {
		if h.left == 0 {
			if err := h.begin(); err != nil {
				return err
			}
		}
		n := min(h.left, len(out))
		if h.bits == nil {
			for i := range n {
				out[i] = h.value
			}
		} else {
			h.unpack(out[:n])
		}
		h.left, out = h.left-n, out[n:]
	}
	return nil
}

// unpack reads numbers of the packed run, which has as many.
func (h *hybrid) unpack(out []uint32) {
	mask := uint64(1)<<h.width - 1
	at := h.at
	for i := range out {
		out[i] = uint32(word(h.bits, at/8) >> (at % 8) & mask) //nolint:gosec // of at most 32 bits
		at += h.width
	}
	h.at = at
}

// word is the eight bytes from at on, with zeros for those behind the end.
func word(b []byte, at uint) uint64 {
	if rest := b[min(at, uint(len(b))):]; len(rest) < 8 {
		var last [8]byte
		copy(last[:], rest)
		return binary.LittleEndian.Uint64(last[:])
	}
	return binary.LittleEndian.Uint64(b[at:])
}

// same reads numbers of one bit, at most so many, as long as they are the same.
func (h *hybrid) same(most int) (value uint32, n int, err error) {
	if h.left == 0 {
		if err := h.begin(); err != nil {
			return 0, 0, err
		}
	}
	most = min(most, h.left)
	if h.bits == nil {
		h.left -= most
		return h.value, most, nil
	}
	ahead := word(h.bits, h.at/8) >> (h.at % 8)
	if value = uint32(ahead & 1); value == 1 {
		ahead = ^ahead
	}
	n = min(most, bits.TrailingZeros64(ahead), 64-int(h.at%8))
	h.left, h.at = h.left-n, h.at+uint(n)
	return value, n, nil
}
