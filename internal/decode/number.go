package decode

import (
	"math"
	"math/bits"
	"strconv"
	"unsafe"
)

// number is a JSON number as it was found.
type number struct {
	start, end int    // in d.b, sign included
	first      int    // first digit
	mantEnd    int    // behind the last digit before the exponent
	whole      int    // digits before the point
	digits     int    // digits before the exponent
	exp        int    // written exponent, cut off at ±expMax
	mant       uint64 // all digits as one number; only right if digits <= 19
	neg        bool
	plain      bool // neither point nor exponent
}

const expMax = 100_000

// scanNumber reads the number at d.p into d.num.
func (d *Decoder) scanNumber() bool {
	b, p := d.b, d.p
	n := number{start: p, plain: true}
	if p < len(b) && b[p] == '-' {
		n.neg = true
		p++
	}
	n.first = p
	var mant uint64
	for p < len(b) && b[p]-'0' <= 9 {
		mant = mant*10 + uint64(b[p]-'0')
		p++
	}
	n.whole = p - n.first
	if n.whole == 0 || n.whole > 1 && b[n.first] == '0' {
		return d.syntax("a number without leading zeros")
	}
	n.digits = n.whole
	if p < len(b) && b[p] == '.' {
		n.plain = false
		p++
		from := p
		for p < len(b) && b[p]-'0' <= 9 {
			mant = mant*10 + uint64(b[p]-'0')
			p++
		}
		if p == from {
			d.p = p
			return d.syntax("a digit behind the point")
		}
		n.digits += p - from
	}
	n.mant, n.mantEnd = mant, p
	if p < len(b) && b[p]|0x20 == 'e' {
		n.plain = false
		if p = d.exponent(p+1, &n.exp); p < 0 {
			return false
		}
	}
	n.end, d.p = p, p
	d.num = n
	return true
}

// exponent reads the digits behind an e and returns their end, or -1.
func (d *Decoder) exponent(p int, exp *int) int {
	b, neg, e := d.b, false, 0
	if p < len(b) && (b[p] == '+' || b[p] == '-') {
		neg = b[p] == '-'
		p++
	}
	from := p
	for p < len(b) && b[p]-'0' <= 9 {
		e = min(e*10+int(b[p]-'0'), expMax)
		p++
	}
	if p == from {
		d.p = p
		d.syntax("a digit in the exponent")
		return -1
	}
	if neg {
		e = -e
	}
	*exp = e
	return p
}

// exactness is what became of digits that do not fit behind the point.
type exactness int

const (
	exact   exactness = iota
	cut               // digits other than zero were left out
	toolong           // more than 38 digits
)

// scaled returns the number's absolute value times ten to the scale, in 128 bits, the rest cut off.
func (d *Decoder) scaled(scale int) (hi, lo uint64, e exactness) {
	n := &d.num
	keep := n.whole + n.exp + scale // how many of the digits stand before the new point
	i, significant := 0, 0
	for _, c := range d.b[n.first:n.mantEnd] {
		if c == '.' {
			continue
		}
		if i++; i > keep {
			if c != '0' {
				e = cut
			}
			continue
		}
		if significant > 0 || c != '0' {
			if significant++; significant > 38 {
				return 0, 0, toolong
			}
		}
		hi, lo = timesTen(hi, lo, uint64(c-'0'))
	}
	if significant > 0 && keep > n.digits {
		if significant+keep-n.digits > 38 {
			return 0, 0, toolong
		}
		for range keep - n.digits {
			hi, lo = timesTen(hi, lo, 0)
		}
	}
	return hi, lo, e
}

// timesTen returns hi:lo times ten plus digit. The caller knows that it fits.
func timesTen(hi, lo, digit uint64) (uint64, uint64) {
	carry, low := bits.Mul64(lo, 10)
	low, c := bits.Add64(low, digit, 0)
	return hi*10 + carry + c, low
}

// integer returns the number as an integer of 64 bits and a sign.
func (d *Decoder) integer() (v uint64, e exactness) {
	if d.num.plain && d.num.digits <= 19 {
		return d.num.mant, exact
	}
	hi, lo, e := d.scaled(0)
	if hi != 0 {
		return 0, toolong
	}
	return lo, e
}

// setInteger stores the number in an integer column.
func (d *Decoder) setInteger(n *node, i int) bool {
	v, e := d.integer()
	if e == cut {
		return d.wrong(n, "an integer without fraction", d.num.start)
	}
	shift := 64 - 8*n.width
	limit := uint64(math.MaxUint64) >> shift
	if n.kind == kindInt {
		limit >>= 1
		if d.num.neg {
			limit++
		}
	} else if d.num.neg && v != 0 {
		limit, e = 0, toolong
	}
	if e == toolong || v > limit {
		return d.wrong(n, "a number within the range of "+n.sql, d.num.start)
	}
	if d.num.neg {
		v = -v
	}
	n.setInt(i, v)
	return true
}

// setDecimal stores the number in a DECIMAL or HUGEINT column, all digits kept.
func (d *Decoder) setDecimal(n *node, i int) bool {
	var hi, lo uint64
	e := exact
	if d.num.plain && n.scale == 0 && d.num.digits <= 19 {
		lo = d.num.mant
	} else {
		hi, lo, e = d.scaled(n.scale)
	}
	switch {
	case e == cut && n.scale == 0:
		return d.wrong(n, "an integer without fraction", d.num.start)
	case e == cut:
		return d.wrong(n, "at most "+strconv.Itoa(n.scale)+" digits behind the point", d.num.start)
	case e == toolong || !below10(hi, lo, n.prec):
		return d.wrong(n, "a number within the range of "+n.sql, d.num.start)
	}
	if d.num.neg {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	n.setInt128(i, hi, lo)
	return true
}

// below10 reports whether hi:lo has at most digits decimal digits, digits at most 38.
func below10(hi, lo uint64, digits int) bool {
	var h, l uint64 = 0, 1
	for range digits {
		h, l = timesTen(h, l, 0)
	}
	return hi < h || hi == h && lo < l
}

// setDouble stores the number rounded to the nearest double.
func (d *Decoder) setDouble(n *node, i int) bool {
	m := &d.num
	var v float64
	e := m.exp - (m.digits - m.whole)
	if m.digits <= 19 && m.mant <= 1<<53 && e >= -22 && e <= 22 {
		// Both operands are exact, so the one operation rounds correctly.
		if v = float64(m.mant); e < 0 {
			v /= power10(-e)
		} else {
			v *= power10(e)
		}
		if m.neg {
			v = -v
		}
	} else {
		var err error
		if v, err = strconv.ParseFloat(d.numberText(), 64); err != nil {
			return d.wrong(n, "a number within the range of "+n.sql, m.start)
		}
	}
	n.setInt(i, math.Float64bits(v))
	return true
}

// setFloat stores the number rounded to the nearest float.
func (d *Decoder) setFloat(n *node, i int) bool {
	v, err := strconv.ParseFloat(d.numberText(), 32)
	if err != nil {
		return d.wrong(n, "a number within the range of "+n.sql, d.num.start)
	}
	n.setInt(i, uint64(math.Float32bits(float32(v))))
	return true
}

// numberText returns the number as a string that aliases the payload, since a copy for each row would be
// garbage.
func (d *Decoder) numberText() string {
	return unsafe.String(&d.b[d.num.start], d.num.end-d.num.start)
}

func power10(e int) float64 {
	return [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
		1e17, 1e18, 1e19, 1e20, 1e21, 1e22}[e]
}

// setEpoch stores a number of seconds, milliseconds, microseconds or nanoseconds since 1970, cut to
// microseconds.
func (d *Decoder) setEpoch(n *node, i int) bool {
	digits := map1e6(d.tsUnit)
	hi, lo, e := d.scaled(digits)
	v := int64(lo)
	if d.num.neg {
		if v = -v; e == cut {
			v-- // cut towards the past, as everywhere
		}
	}
	if e == toolong || hi != 0 || lo > math.MaxInt64 || !inRange(v) {
		return d.wrong(n, "a time that TIMESTAMP can hold", d.num.start)
	}
	n.setInt(i, uint64(v))
	return true
}

// map1e6 returns by which power of ten a unit becomes microseconds.
func map1e6(u tsUnit) int {
	switch u {
	case unitSeconds:
		return 6
	case unitMillis:
		return 3
	case unitNanos:
		return -3
	default:
		return 0
	}
}
