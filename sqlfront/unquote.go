package sqlfront

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// nameText returns the name that a word or quoted token spells.
func nameText(raw string) string {
	if strings.HasPrefix(raw, `"`) && len(raw) >= 2 {
		return strings.ReplaceAll(raw[1:len(raw)-1], `""`, `"`)
	}
	return raw
}

// stringText returns the characters that a string token stands for.
func stringText(raw string) string {
	if strings.HasPrefix(raw, "$") {
		tag := dollarTag(raw)
		return raw[len(tag) : len(raw)-len(tag)]
	}
	escapes := raw[0] == 'e' || raw[0] == 'E'
	s := scanner{text: raw}
	if escapes {
		s.pos = 1
	}
	var b strings.Builder
	for {
		from := s.pos + 1
		s.quoted('\'', escapes)
		part := raw[from : s.pos-1]
		if escapes {
			unescape(&b, part)
		} else {
			b.WriteString(strings.ReplaceAll(part, "''", "'"))
		}
		next, ok := s.continuation()
		if !ok {
			return b.String()
		}
		s.pos = next
	}
}

// unescape writes the inside of an E string with its backslashes resolved, as Postgres reads them.
func unescape(b *strings.Builder, part string) {
	for i := 0; i < len(part); i++ {
		c := part[i]
		switch {
		case c == '\'':
			b.WriteByte(c)
			i++ // The quote is doubled.
		case c == '\\' && i+1 < len(part):
			i += escape(b, part[i+1:])
		default:
			b.WriteByte(c)
		}
	}
}

// escape writes what the text behind a backslash stands for and returns how many bytes of it are used.
func escape(b *strings.Builder, text string) int {
	switch text[0] {
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case 'x':
		return 1 + codePoint(b, text[1:], 2)
	case 'u':
		return 1 + codePoint(b, text[1:], 4)
	case 'U':
		return 1 + codePoint(b, text[1:], 8)
	default:
		_, n := utf8.DecodeRuneInString(text)
		b.WriteString(text[:n])
		return n
	}
	return 1
}

// codePoint writes the character of up to width hexadecimal digits and returns how many there are.
func codePoint(b *strings.Builder, text string, width int) int {
	n := 0
	for n < width && n < len(text) && strings.IndexByte("0123456789abcdefABCDEF", text[n]) >= 0 {
		n++
	}
	if v, err := strconv.ParseUint(text[:n], 16, 32); err == nil {
		b.WriteRune(rune(v)) //nolint:gosec // WriteRune replaces what is no character
	}
	return n
}
