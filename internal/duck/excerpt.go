package duck

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// excerptWidth is how wide DuckDB lets an excerpt grow before it cuts it, half before the place, half after.
const excerptWidth = 80

// excerptPosition returns the byte offset in sql at which the excerpt at the end of msg points, or -1.
//
// DuckDB prints "LINE n: text" and a caret below, and cuts long lines on either side with "...". The
// excerpt of a cut line can not be read back (from the second line on its text is taken from the wrong
// place), so the printing is done again for each place of line n, and the one place that prints the same is
// the answer.
func excerptPosition(msg, sql string) int {
	i := strings.LastIndex(msg, "\nLINE ")
	if i < 0 {
		return -1
	}
	want := msg[i+1:]
	number, _, ok := strings.Cut(strings.TrimPrefix(want, "LINE "), ":")
	if !ok {
		return -1
	}
	line, err := strconv.Atoi(number)
	if err != nil || line < 1 {
		return -1
	}
	start, end := lineBounds(sql, line)
	if start < 0 {
		return -1
	}
	p := excerptPrinter{sql: sql, line: line, start: start, end: end}
	p.measure()
	found := -1
	for at := range p.offsets {
		if !tokenStart(sql[start:end], p.offsets[at]) || p.print(at) != want {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = start + p.offsets[at]
	}
	return found
}

// tokenStart reports whether a token may begin at byte at of line: errors point nowhere else. It keeps widths
// that DuckDB counts in another way from giving a place beside the right one.
func tokenStart(line string, at int) bool {
	r, _ := utf8.DecodeRuneInString(line[at:])
	if unicode.IsSpace(r) {
		return false
	}
	before, _ := utf8.DecodeLastRuneInString(line[:at])
	return at == 0 || !inWord(r) || !inWord(before)
}

func inWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// lineBounds returns where line n (from 1) of sql begins and ends, or -1. Lines end at \n, \r or both.
func lineBounds(sql string, n int) (start, end int) {
	for ; n > 1; n-- {
		i := strings.IndexAny(sql[start:], "\r\n")
		if i < 0 {
			return -1, -1
		}
		if strings.HasPrefix(sql[start+i:], "\r\n") {
			i++
		}
		start += i + 1
	}
	if i := strings.IndexAny(sql[start:], "\r\n"); i >= 0 {
		return start, start + i
	}
	return start, len(sql)
}

// excerptPrinter prints as DuckDB's QueryErrorContext::Format does.
type excerptPrinter struct {
	sql        string
	line       int
	start, end int
	offsets    []int
	widths     []int
}

func (p *excerptPrinter) measure() {
	text := p.sql[p.start:p.end]
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		p.offsets = append(p.offsets, i)
		p.widths = append(p.widths, runeWidth(r))
		i += size
	}
}

// print renders the excerpt for an error at character at of the line.
func (p *excerptPrinter) print(at int) string {
	start, end, first := p.start, p.end, 0
	before, after := "", ""
	width := 0
	for i := at; i > 0; i-- {
		width += p.widths[i]
		if width >= excerptWidth/2 {
			// Relative to the line, yet used below as if relative to the text: so does DuckDB.
			start, first, before = p.offsets[i], i, "..."
			break
		}
	}
	width = 0
	for i := at; i < len(p.offsets); i++ {
		width += p.widths[i]
		if width >= excerptWidth/2 {
			end, after = p.offsets[i], "..."
			break
		}
	}
	head := "LINE " + strconv.Itoa(p.line) + ": "
	indent := len(head) + len(before)
	for i := first; i < at; i++ {
		indent += p.widths[i]
	}
	return head + before + substr(p.sql, start, end-start) + after + "\n" + strings.Repeat(" ", indent) + "^"
}

// substr cuts like std::string::substr, whose count wraps around when negative.
func substr(s string, start, count int) string {
	if start >= len(s) {
		return ""
	}
	if count < 0 || start+count > len(s) {
		return s[start:]
	}
	return s[start : start+count]
}

// runeWidth returns how many columns r takes: none for control characters and combining marks, two for East
// Asian wide ones.
func runeWidth(r rune) int {
	switch {
	case r < 0x20:
		return 0
	case r < 0x300:
		return 1
	case r <= 0x36f, r >= 0x200b && r <= 0x200f, r >= 0xfe00 && r <= 0xfe0f:
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3,
		r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60,
		r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	default:
		return 1
	}
}
