package decode

import "encoding/binary"

// flat reads a flatbuffer that nobody has checked: every access outside of it gives zero and sets bad.
// Arrow's own reader trusts lengths and offsets, which a hostile payload could turn into a crash of the
// process.
type flat struct {
	b   []byte
	bad bool
}

// at returns size bytes at p, or zeros.
func (f *flat) at(p, size int) []byte {
	if p < 0 || p > len(f.b)-size {
		f.bad = true
		return make([]byte, size)
	}
	return f.b[p : p+size]
}

func (f *flat) u8(p int) byte   { return f.at(p, 1)[0] }
func (f *flat) u16(p int) int   { return int(binary.LittleEndian.Uint16(f.at(p, 2))) }
func (f *flat) i32(p int) int   { return int(int32(binary.LittleEndian.Uint32(f.at(p, 4)))) }
func (f *flat) i64(p int) int64 { return int64(binary.LittleEndian.Uint64(f.at(p, 8))) }

// follow returns where the offset at p leads.
func (f *flat) follow(p int) int {
	to := f.i32(p)
	if to <= 0 {
		f.bad = true
		return -1
	}
	return p + to
}

// field returns the place of a table's field, or -1 if the table does not have it.
func (f *flat) field(table, i int) int {
	vtable := table - f.i32(table)
	if f.bad || 4+2*i+2 > f.u16(vtable) {
		return -1
	}
	if off := f.u16(vtable + 4 + 2*i); off > 0 {
		return table + off
	}
	return -1
}

// sub returns the table, string or vector that a field leads to, or -1.
func (f *flat) sub(table, i int) int {
	if p := f.field(table, i); p >= 0 {
		return f.follow(p)
	}
	return -1
}

// number returns a scalar field of 1, 2, 4 or 8 bytes, or def.
func (f *flat) number(table, i, size int, def int64) int64 {
	p := f.field(table, i)
	if p < 0 {
		return def
	}
	switch size {
	case 1:
		return int64(f.u8(p))
	case 2:
		return int64(int16(f.u16(p)))
	case 4:
		return int64(f.i32(p))
	}
	return f.i64(p)
}

// vector returns where the elements of a vector field begin, and how many there are; each lies within the
// buffer.
func (f *flat) vector(table, i, size int) (start, n int) {
	p := f.sub(table, i)
	if p < 0 {
		return 0, 0
	}
	n = f.i32(p)
	if n < 0 || n > (len(f.b)-p)/size {
		f.bad = true
		return 0, 0
	}
	return p + 4, n
}

func (f *flat) text(table, i int) string {
	start, n := f.vector(table, i, 1)
	return string(f.at(start, n))
}
