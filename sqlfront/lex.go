package sqlfront

import (
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
)

// tokenKind is a kind of token. White space and comments are no tokens.
type tokenKind uint8

const (
	tokenEnd      tokenKind = iota // behind the last token of a statement
	tokenWord                      // a keyword or an unquoted name
	tokenQuoted                    // "name"
	tokenString                    // 'text', E'text', $tag$text$tag$
	tokenNumber                    // 42, 1.5e3
	tokenVariable                  // ${NAME} or ${NAME:-default}
	tokenPunct                     // one byte of anything else
	tokenBroken                    // a string, quoted name or comment that is never closed; ends with the text
)

// token is a piece of text, End exclusive.
type token struct {
	kind       tokenKind
	start, end int
}

func (t token) span() diag.Span { return diag.Span{Start: t.start, End: t.end} }

// statements cuts tokens at the semicolons. Empty statements are left out.
func statements(toks []token, text string) [][]token {
	var all [][]token
	from := 0
	for i, t := range toks {
		if t.kind == tokenPunct && text[t.start] == ';' {
			if i > from {
				all = append(all, toks[from:i])
			}
			from = i + 1
		}
	}
	if from < len(toks) {
		all = append(all, toks[from:])
	}
	return all
}

// scan returns the tokens of text in order.
func scan(text string) []token {
	s := scanner{text: text}
	var toks []token
	for {
		t := s.next()
		if t.kind == tokenEnd {
			return toks
		}
		toks = append(toks, t)
	}
}

type scanner struct {
	text string
	pos  int
}

func (s *scanner) next() token {
	if start, open := s.skipSpace(); open {
		return token{tokenBroken, start, len(s.text)}
	}
	start := s.pos
	if start >= len(s.text) {
		return token{tokenEnd, start, start}
	}
	c := s.text[start]
	switch {
	case c == '\'':
		return s.quotedString(start, false)
	case (c == 'e' || c == 'E') && s.at(start+1) == '\'':
		s.pos++
		return s.quotedString(start, true)
	case c == '"':
		return s.quotedName(start)
	case c == '$':
		return s.dollar(start)
	case wordStart(c):
		s.pos = s.wordEnd(start)
		return token{tokenWord, start, s.pos}
	case digit(c), c == '.' && digit(s.at(start+1)):
		s.number()
		return token{tokenNumber, start, s.pos}
	}
	s.pos++
	return token{tokenPunct, start, s.pos}
}

// at returns the byte at i, or 0 past the end.
func (s *scanner) at(i int) byte {
	if i < len(s.text) {
		return s.text[i]
	}
	return 0
}

// skipSpace moves past white space and comments. It reports the start of a comment that is never closed.
func (s *scanner) skipSpace() (start int, open bool) {
	for s.pos < len(s.text) {
		rest := s.text[s.pos:]
		switch {
		case spaceWidth(rest) > 0:
			s.pos += spaceWidth(rest)
		case strings.HasPrefix(rest, "--"):
			s.skipLine()
		case strings.HasPrefix(rest, "/*"):
			start = s.pos
			if !s.skipBlock() {
				return start, true
			}
		default:
			return 0, false
		}
	}
	return 0, false
}

// skipLine moves to the end of the line, as DuckDB ends a comment at \r as well as at \n.
func (s *scanner) skipLine() {
	if i := strings.IndexAny(s.text[s.pos:], "\r\n"); i >= 0 {
		s.pos += i
		return
	}
	s.pos = len(s.text)
}

// skipBlock moves past a comment that may hold comments, and reports whether it is closed.
func (s *scanner) skipBlock() bool {
	depth := 0
	for s.pos < len(s.text) {
		switch {
		case strings.HasPrefix(s.text[s.pos:], "/*"):
			depth++
			s.pos += 2
		case strings.HasPrefix(s.text[s.pos:], "*/"):
			depth--
			s.pos += 2
			if depth == 0 {
				return true
			}
		default:
			s.pos++
		}
	}
	return false
}

// quotedString reads from the quote at s.pos. Strings that are apart by white space with a line break are
// one.
func (s *scanner) quotedString(start int, escapes bool) token {
	for {
		if !s.quoted('\'', escapes) {
			return token{tokenBroken, start, len(s.text)}
		}
		next, ok := s.continuation()
		if !ok {
			return token{tokenString, start, s.pos}
		}
		s.pos = next
	}
}

// continuation returns the place of a quote that continues the string which ended at s.pos.
func (s *scanner) continuation() (int, bool) {
	ahead := scanner{text: s.text, pos: s.pos}
	broken := false
	for ahead.pos < len(ahead.text) {
		rest := ahead.text[ahead.pos:]
		width := spaceWidth(rest)
		switch {
		case width > 0:
			broken = broken || rest[0] == '\n' || rest[0] == '\r'
			ahead.pos += width
		case strings.HasPrefix(rest, "--"):
			ahead.skipLine()
		default:
			return ahead.pos, broken && rest[0] == '\''
		}
	}
	return 0, false
}

// quotedName reads "name".
func (s *scanner) quotedName(start int) token {
	if !s.quoted('"', false) {
		return token{tokenBroken, start, len(s.text)}
	}
	return token{tokenQuoted, start, s.pos}
}

// quoted moves past a quoted run that opens at s.pos, in which a doubled quote stands for one.
func (s *scanner) quoted(quote byte, escapes bool) bool {
	s.pos++
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		s.pos++
		switch {
		case escapes && c == '\\':
			s.pos = min(s.pos+1, len(s.text))
		case c == quote && s.at(s.pos) == quote && s.pos < len(s.text):
			s.pos++
		case c == quote:
			return true
		}
	}
	return false
}

// dollar reads ${VARIABLE}, a dollar-quoted string, a parameter, or the sign alone.
func (s *scanner) dollar(start int) token {
	if n := variableWidth(s.text[start:]); n > 0 {
		s.pos += n
		return token{tokenVariable, start, s.pos}
	}
	if tag := dollarTag(s.text[start:]); tag != "" {
		i := strings.Index(s.text[start+len(tag):], tag)
		if i < 0 {
			s.pos = len(s.text)
			return token{tokenBroken, start, s.pos}
		}
		s.pos = start + i + 2*len(tag)
		return token{tokenString, start, s.pos}
	}
	s.pos++
	for digit(s.at(s.pos)) {
		s.pos++
	}
	return token{tokenPunct, start, s.pos}
}

// dollarTag returns the $tag$ that text opens with, or "".
func dollarTag(text string) string {
	i := 1
	for i < len(text) && (wordStart(text[i]) || i > 1 && digit(text[i])) {
		i++
	}
	if i < len(text) && text[i] == '$' {
		return text[:i+1]
	}
	return ""
}

// variableBytesMax bounds a ${…} that stands outside of a string.
const variableBytesMax = 256

// variableWidth returns the length of the ${NAME} or ${NAME:-default} that text opens with, or 0.
func variableWidth(text string) int {
	if !strings.HasPrefix(text, "${") {
		return 0
	}
	end := strings.IndexAny(text[:min(len(text), variableBytesMax)], "}'\"\n")
	if end < 0 || text[end] != '}' {
		return 0
	}
	return end + 1
}

// number reads digits, a fraction and an exponent.
func (s *scanner) number() {
	s.digits()
	if s.at(s.pos) == '.' {
		s.pos++
		s.digits()
	}
	if c := s.at(s.pos); c != 'e' && c != 'E' {
		return
	}
	i := s.pos + 1
	if c := s.at(i); c == '+' || c == '-' {
		i++
	}
	if digit(s.at(i)) {
		s.pos = i
		s.digits()
	}
}

func (s *scanner) digits() {
	for digit(s.at(s.pos)) || s.at(s.pos) == '_' {
		s.pos++
	}
}

// wordEnd returns where the word that starts at i ends.
func (s *scanner) wordEnd(i int) int {
	for i < len(s.text) && spaceWidth(s.text[i:]) == 0 {
		if c := s.text[i]; !wordStart(c) && !digit(c) && c != '$' {
			break
		}
		i++
	}
	return i
}

func wordStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// spaceWidth returns the bytes of the space that text begins with, or 0. DuckDB takes some Unicode spaces and
// the byte order mark as spaces too.
func spaceWidth(text string) int {
	if text == "" {
		return 0
	}
	switch text[0] {
	case ' ', '\t', '\n', '\r', '\f':
		return 1
	case 0xC2, 0xE2, 0xE3, 0xEF:
		return unicodeSpaceWidth(text)
	}
	return 0
}

func unicodeSpaceWidth(text string) int {
	if strings.HasPrefix(text, "\u00a0") {
		return 2
	}
	if len(text) < 3 {
		return 0
	}
	switch three := text[:3]; {
	case three >= "\u2000" && three <= "\u200d":
		return 3
	case three == "\u202f", three == "\u205f", three == "\u2060", three == "\u3000", three == "\ufeff":
		return 3
	}
	return 0
}
