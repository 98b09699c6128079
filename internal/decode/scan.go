package decode

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// This file moves d.p through d.b. Each method returns false with d.reason set when the text is not JSON.

// peek skips white space and returns the byte at d.p, or 0 at the end (which no token begins with).
func (d *Decoder) peek() byte {
	for d.p < len(d.b) {
		c := d.b[d.p]
		if c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
		d.p++
	}
	return 0
}

// ended reads what follows an element of an array or object that ends in end: a comma, after which another comes, or
// the end. If it is neither, ok is false and the reason is noted.
func (d *Decoder) ended(end byte) (ended, ok bool) {
	switch d.peek() {
	case ',':
		d.p++
		return false, true
	case end:
		d.p++
		return true, true
	}
	return false, d.syntax(`"," or "` + string(rune(end)) + `"`)
}

// syntax reports what stands at d.p where something else was expected.
func (d *Decoder) syntax(expected string) bool {
	if d.p >= len(d.b) {
		d.reason = fmt.Sprintf("not valid JSON at byte %d: expected %s, found the end", d.p, expected)
		return false
	}
	d.reason = fmt.Sprintf("not valid JSON at byte %d: expected %s, found %s", d.p, expected, show(d.b[d.p:], 20))
	return false
}

const (
	lows  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plain returns the end of the run of bytes from p on that are neither quote, backslash, control nor above
// ASCII.
func (d *Decoder) plain(p int) int {
	b := d.b
	for p+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[p:])
		quote := w ^ lows*'"'
		slash := w ^ lows*'\\'
		// The lowest set high bit of each term is exact; false ones can only stand above it.
		stop := (w-lows*' ')&^w | (quote-lows)&^quote | (slash-lows)&^slash | w
		if stop &= highs; stop != 0 {
			return p + bits.TrailingZeros64(stop)>>3
		}
		p += 8
	}
	for p < len(b) && b[p] >= ' ' && b[p] < utf8.RuneSelf && b[p] != '"' && b[p] != '\\' {
		p++
	}
	return p
}

// str reads the string that begins with the quote at d.p. The result aliases the payload, or d.text if the
// string has escapes, and holds until the next string is read.
func (d *Decoder) str() ([]byte, bool) {
	start := d.p + 1
	p := d.plain(start)
	if p < len(d.b) && d.b[p] == '"' {
		d.p = p + 1
		return d.b[start:p], true
	}
	return d.strSlow(start, p)
}

// strSlow reads the rest of a string that has escapes or characters above ASCII.
func (d *Decoder) strSlow(start, p int) ([]byte, bool) {
	from, escaped, above := start, false, false
	for {
		if p >= len(d.b) {
			d.p = len(d.b)
			return nil, d.syntax("the end of a string")
		}
		switch c := d.b[p]; {
		case c == '"':
			s := d.b[start:p]
			if escaped {
				d.text = append(d.text, d.b[from:p]...)
				s = d.text
			}
			if above && !utf8.Valid(s) {
				d.reason = fmt.Sprintf("not valid JSON at byte %d: the string %s is not valid UTF-8", start, show(s, 80))
				return nil, false
			}
			d.p = p + 1
			return s, true
		case c == '\\':
			if !escaped {
				d.text = d.text[:0]
				escaped = true
			}
			d.text = append(d.text, d.b[from:p]...)
			n, ok := d.escape(p)
			if !ok {
				return nil, false
			}
			p += n
			from = p
		case c < ' ':
			d.p = p
			return nil, d.syntax("no control character within a string")
		default:
			above = true
			p++
		}
		p = d.plain(p)
	}
}

// escape appends to d.text what the escape at p means and returns its length.
func (d *Decoder) escape(p int) (int, bool) {
	d.p = p
	if p+1 >= len(d.b) {
		return 0, d.syntax("a whole escape")
	}
	c := d.b[p+1]
	if c == 'u' {
		return d.escapeRune(p)
	}
	const names, means = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	i := strings.IndexByte(names, c)
	if i < 0 {
		return 0, d.syntax("a known escape")
	}
	d.text = append(d.text, means[i])
	return 2, true
}

func (d *Decoder) escapeRune(p int) (int, bool) {
	r, ok := hex4(d.b, p+2)
	if !ok {
		return 0, d.syntax("four hexadecimal digits behind \\u")
	}
	if !utf16.IsSurrogate(r) {
		d.text = utf8.AppendRune(d.text, r)
		return 6, true
	}
	if p+7 < len(d.b) && d.b[p+6] == '\\' && d.b[p+7] == 'u' {
		if low, ok := hex4(d.b, p+8); ok {
			if r = utf16.DecodeRune(r, low); r != unicode.ReplacementChar {
				d.text = utf8.AppendRune(d.text, r)
				return 12, true
			}
		}
	}
	return 0, d.syntax("both halves of a surrogate pair")
}

func hex4(b []byte, p int) (r rune, ok bool) {
	if p+4 > len(b) {
		return 0, false
	}
	for _, c := range b[p : p+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// literal reads one of true, false and null.
func (d *Decoder) literal(word string) bool {
	if end := d.p + len(word); end <= len(d.b) && string(d.b[d.p:end]) == word {
		d.p = end
		return true
	}
	return d.syntax("a value")
}

// skip reads one value of any kind, and checks that it is JSON.
func (d *Decoder) skip(depth int) bool {
	switch c := d.peek(); c {
	case '"':
		_, ok := d.str()
		return ok
	case '{':
		return d.skipObject(depth + 1)
	case '[':
		return d.skipArray(depth + 1)
	case 't':
		return d.literal("true")
	case 'f':
		return d.literal("false")
	case 'n':
		return d.literal("null")
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return d.scanNumber()
		}
		return d.syntax("a value")
	}
}

func (d *Decoder) tooDeep() bool {
	d.reason = fmt.Sprintf("nested deeper than %d levels at byte %d", depthMax, d.p)
	return false
}

func (d *Decoder) skipObject(depth int) bool {
	if depth > depthMax {
		return d.tooDeep()
	}
	d.p++
	if d.peek() == '}' {
		d.p++
		return true
	}
	for {
		if d.peek() != '"' {
			return d.syntax("a key in quotes")
		}
		if _, ok := d.str(); !ok {
			return false
		}
		if d.peek() != ':' {
			return d.syntax(`":"`)
		}
		d.p++
		if !d.skip(depth) {
			return false
		}
		if ended, ok := d.ended('}'); ended || !ok {
			return ok
		}
	}
}

func (d *Decoder) skipArray(depth int) bool {
	if depth > depthMax {
		return d.tooDeep()
	}
	d.p++
	if d.peek() == ']' {
		d.p++
		return true
	}
	for {
		if !d.skip(depth) {
			return false
		}
		if ended, ok := d.ended(']'); ended || !ok {
			return ok
		}
	}
}

// show returns at most limit bytes of b in a form that can stand in a message of one line.
func show(b []byte, limit int) string {
	cut := len(b) > limit
	if cut {
		for limit > 0 && !utf8.RuneStart(b[limit]) {
			limit--
		}
		b = b[:limit]
	}
	s := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, string(b))
	if cut {
		s += "…"
	}
	return s
}
