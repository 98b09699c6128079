package compression

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/pierrec/lz4/v4"
)

// Frames are read here and only their blocks by the library: its reader keeps what blocks of one frame refer to for the next,
// so that a damaged frame would hold parts of another message, and takes the checksum of a block for that of its content.

// Flags of an LZ4 frame.
const (
	flagDictionary = 1 << iota
	_
	flagChecksum
	flagSize
	flagBlockChecksum
	flagIndependent
)

const (
	lz4Stored  = 1 << 31  // of a block's length: it is not compressed
	lz4Reaches = 64 << 10 // how far back a block may refer
	lz4Most    = 255      // a compressed byte holds no more than that many, beside those of the last few
)

// lz4Frame is what is left of a frame that is being read.
type lz4Frame struct {
	rest     []byte
	flags    byte
	blockMax int
	size     uint64
	from     int // where in Decompressor.out its content begins
}

// lz4Frames restores LZ4 frames, one behind the other.
func (d *Decompressor) lz4Frames(payload []byte) error {
	for d.out = d.out[:0]; len(payload) > 0; {
		if n := skippable(payload); n > 0 {
			payload = payload[n:]
			continue
		}
		f := lz4Frame{rest: payload, from: len(d.out)}
		if err := f.header(); err != nil {
			return err
		}
		if err := d.lz4Blocks(&f); err != nil {
			return err
		}
		if err := f.end(d.out[f.from:]); err != nil {
			return err
		}
		payload = f.rest
	}
	return nil
}

// skippable returns the length of a whole frame that the formats of LZ4 and Zstandard have for others to skip, or 0.
func skippable(payload []byte) int {
	const head = 8 // a beginning of which four bits are free, and how many bytes follow
	if len(payload) < head || binary.LittleEndian.Uint32(payload)&^0xf != 0x184d2a50 {
		return 0
	}
	if n := head + int64(binary.LittleEndian.Uint32(payload[4:])); n <= int64(len(payload)) {
		return int(n)
	}
	return 0
}

// next takes n bytes off the frame.
func (f *lz4Frame) next(n int) ([]byte, error) {
	if n > len(f.rest) {
		return nil, io.ErrUnexpectedEOF
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b, nil
}

func (f *lz4Frame) number() (uint32, error) {
	b, err := f.next(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

// header reads what stands before the blocks.
func (f *lz4Frame) header() error {
	if kindOf(f.rest) != lz4Kind {
		return errors.New("something else follows")
	}
	const first, sized = 6, 8 // bytes: the beginning, flags and block size; the content's size
	n := first
	if len(f.rest) > first && f.rest[4]&flagSize != 0 {
		n += sized
	}
	b, err := f.next(n + 1)
	if err != nil {
		return err
	}
	f.flags = b[4]
	block := b[5] >> 4 & 7
	switch {
	case f.flags>>6 != 1 || block < 4:
		return errors.New("its header is of no known version")
	case f.flags&flagDictionary != 0:
		return errors.New("it was compressed with a dictionary")
	case b[n] != byte(xxh32(b[4:n])>>8):
		return errors.New("the checksum of its header is another")
	}
	f.blockMax = 1 << (8 + 2*block)
	if n > first {
		f.size = binary.LittleEndian.Uint64(b[first:])
	}
	return nil
}

// lz4Blocks appends what the blocks of a frame hold.
func (d *Decompressor) lz4Blocks(f *lz4Frame) error {
	for {
		length, err := f.number()
		if err != nil || length == 0 {
			return err
		}
		stored := length&lz4Stored != 0
		if length &^= lz4Stored; int64(length) > int64(f.blockMax) {
			return errors.New("a block is longer than its header allows")
		}
		block, err := f.next(int(length))
		if err != nil {
			return err
		}
		at := len(d.out)
		if err := d.lz4Block(f, block, stored); err != nil {
			return err
		}
		if len(d.out) > d.most {
			return tooLargeError(d.most)
		}
		if f.flags&flagBlockChecksum == 0 {
			continue
		}
		sum, err := f.number()
		if err != nil {
			return err
		}
		if sum != xxh32(block) && sum != xxh32(d.out[at:]) { // of the latter, the library that reads blocks here writes it
			return errors.New("the checksum of a block is another")
		}
	}
}

// lz4Block appends what a block holds.
func (d *Decompressor) lz4Block(f *lz4Frame, block []byte, stored bool) error {
	if stored {
		d.out = append(d.out, block...)
		return nil
	}
	at, room := len(d.out), min(f.blockMax, lz4Most*(len(block)+1))
	if cap(d.out)-at < room {
		d.out = slices.Grow(d.out, max(room, min(max(at, least), d.most+1-at)))
	}
	var before []byte
	if f.flags&flagIndependent == 0 {
		before = d.out[max(f.from, at-lz4Reaches):at]
	}
	n, err := lz4.UncompressBlockWithDict(block, d.out[at:at+room], before)
	d.out = d.out[:at+n]
	return err //nolint:wrapcheck // the caller says what it is about
}

// end reads what stands behind the blocks, and compares.
func (f *lz4Frame) end(content []byte) error {
	if f.flags&flagSize != 0 && f.size != uint64(len(content)) {
		return fmt.Errorf("it says that it has %d bytes and has %d", f.size, len(content))
	}
	if f.flags&flagChecksum == 0 {
		return nil
	}
	sum, err := f.number()
	if err == nil && sum != xxh32(content) {
		err = errors.New("the checksum of its content is another")
	}
	return err
}
