package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// FrameBytesMax is the largest frame a log can hold.
const FrameBytesMax = 256 << 20

const (
	frameFormat    = 0x4601 // "F", 1: more than one bit, so that a flipped one does not look like a lost sector
	frameHeadBytes = 40
	entryHeadBytes = 16
	alignBytes     = 8
	sectorBytes    = 512
)

// Entry is one record. Type and Batch are the caller's; the log hands them back as they were.
type Entry struct {
	Type    uint8
	Batch   int64
	Payload []byte
}

// Position is the number of a frame, from 1. Entries of one Append share it. That of a durable frame is never
// given to another.
type Position uint64

// frameHead is the head of a frame.
type frameHead struct {
	bodyBytes uint32
	crc       uint32 // of id and head
	seq       Position
	durable   Position
	prev      uint32 // crc of the frame before
	bodyCRC   uint32
	entries   uint32
}

func castagnoli(parts ...[]byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // made once by the library
	var sum uint32
	for _, p := range parts {
		sum = crc32.Update(sum, table, p)
	}
	return sum
}

// frameBytes returns how long the frame of entries is.
func frameBytes(entries []Entry) int64 {
	n := int64(frameHeadBytes)
	for _, e := range entries {
		n += entryHeadBytes + int64(len(e.Payload))
	}
	return (n + alignBytes - 1) / alignBytes * alignBytes
}

// appendFrame adds the frame of entries to dst and returns the head CRC too. Of h it takes seq, durable and
// prev.
func appendFrame(dst []byte, id [16]byte, h frameHead, entries []Entry) ([]byte, uint32) {
	start := len(dst)
	dst = append(dst, make([]byte, frameHeadBytes)...)
	for _, e := range entries {
		dst = append(dst, e.Type, 0, 0, 0)
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(e.Payload))) //nolint:gosec // Append has checked it
		dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Batch))        //nolint:gosec // a bit pattern
		dst = append(dst, e.Payload...)
	}
	for (len(dst)-start)%alignBytes != 0 {
		dst = append(dst, 0)
	}
	b, body := dst[start:], dst[start+frameHeadBytes:]
	le := binary.LittleEndian
	le.PutUint32(b[0:], uint32(len(body))) //nolint:gosec // Append has checked it
	le.PutUint64(b[8:], uint64(h.seq))
	le.PutUint64(b[16:], uint64(h.durable))
	le.PutUint32(b[24:], h.prev)
	le.PutUint32(b[28:], castagnoli(body))
	le.PutUint16(b[32:], frameFormat)
	le.PutUint32(b[36:], uint32(len(entries))) //nolint:gosec // each takes 16 bytes of the frame
	crc := headCRC(b, id)
	le.PutUint32(b[4:], crc)
	return dst, crc
}

func headCRC(b []byte, id [16]byte) uint32 {
	return castagnoli(id[:], b[:4], b[8:frameHeadBytes])
}

// parseHead reads a head; ok says whether its CRC holds and its format is known.
func parseHead(b []byte, id [16]byte) (h frameHead, ok bool) {
	le := binary.LittleEndian
	h = frameHead{
		bodyBytes: le.Uint32(b[0:]),
		crc:       le.Uint32(b[4:]),
		seq:       Position(le.Uint64(b[8:])),
		durable:   Position(le.Uint64(b[16:])),
		prev:      le.Uint32(b[24:]),
		bodyCRC:   le.Uint32(b[28:]),
		entries:   le.Uint32(b[36:]),
	}
	return h, le.Uint16(b[32:]) == frameFormat && le.Uint16(b[34:]) == 0 && h.crc == headCRC(b, id)
}

// parseBody reads count entries. Their payloads are parts of body.
func parseBody(body []byte, count uint32) ([]Entry, error) {
	if int64(count)*entryHeadBytes > int64(len(body)) {
		return nil, fmt.Errorf("%d entries do not fit into %d bytes", count, len(body))
	}
	entries := make([]Entry, 0, count)
	for range count {
		if len(body) < entryHeadBytes {
			return nil, errors.New("an entry's head is cut off")
		}
		size := int64(binary.LittleEndian.Uint32(body[4:]))
		if size > int64(len(body)-entryHeadBytes) {
			return nil, fmt.Errorf("an entry of %d bytes is cut off", size)
		}
		if body[1]|body[2]|body[3] != 0 {
			return nil, errors.New("an entry's spare bytes are not zero")
		}
		end := entryHeadBytes + int(size)
		entries = append(entries, Entry{
			Type:    body[0],
			Batch:   int64(binary.LittleEndian.Uint64(body[8:])), //nolint:gosec // a bit pattern
			Payload: body[entryHeadBytes:end:end],
		})
		body = body[end:]
	}
	if len(body) >= alignBytes || !zero(body) {
		return nil, errors.New("bytes follow the last entry")
	}
	return entries, nil
}

func zero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// looksLost says whether b, which stands at offset of a file and fails its checksum, can be what a crash has
// left of a write at the end of a file: the part of it in some sector, or its end, is zero.
func looksLost(b []byte, offset int64) bool {
	if zero(b[max(0, len(b)-alignBytes):]) {
		return true
	}
	for len(b) > 0 {
		n := min(sectorBytes-offset%sectorBytes, int64(len(b)))
		if zero(b[:n]) {
			return true
		}
		b, offset = b[n:], offset+n
	}
	return false
}

// checkEntries says why entries can not be one frame, or nil.
func checkEntries(entries []Entry, bytesMax int64) error {
	for _, e := range entries {
		if int64(len(e.Payload)) > math.MaxUint32 {
			return fmt.Errorf("an entry of %d bytes is too long for the log", len(e.Payload))
		}
	}
	if n := frameBytes(entries); n > bytesMax {
		return fmt.Errorf("a frame of %d bytes is too long for the log, which takes up to %d", n, bytesMax)
	}
	return nil
}
