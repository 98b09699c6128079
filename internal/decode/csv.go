package decode

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/tidemill/tidemill/internal/diag"
)

// csvFormat is how CSV is written, and what the last header said.
type csvFormat struct {
	delimiter byte
	header    bool
	null      string
	last      []byte  // the last header as it stood
	targets   []*node // for each field the column it goes to, nil to skip it
	missing   []*node // columns that the header does not name
	scratch   []byte
}

func (d *Decoder) setCSV(o Options) error {
	delimiter := o.CSVDelimiter
	if delimiter == "" {
		delimiter = ","
	}
	c := delimiter[0]
	if len(delimiter) != 1 || c == '"' || c == '\n' || c == '\r' || c >= utf8.RuneSelf {
		return diag.New(diag.BadOption, "csv_delimiter %q is not one ASCII character other than quote and line break",
			delimiter).OfOption("csv_delimiter").WithHint("write one character, such as ',' or ';'; E'\\t' is a tab")
	}
	d.csv = csvFormat{delimiter: c, header: o.CSVHeader, null: o.CSVNull, targets: d.top.fields}
	return nil
}

// csvPayload decodes lines as RFC 4180 has them: quotes are doubled within quotes, and a quoted field may
// hold line breaks. Empty lines are no rows.
func (d *Decoder) csvPayload(msg int, b []byte) {
	m := d.mark()
	p := len(b) - len(skipBOM(b))
	if d.csv.header && p < len(b) {
		if p = d.csvHeader(b, p); p < 0 {
			d.badPayload(m, msg, len(b), d.reason)
			return
		}
	}
	for index := 0; p < len(b); {
		if n := lineBreak(b, p); n > 0 {
			p += n
			continue
		}
		start := p
		d.room(1)
		d.reason = ""
		p = d.csvRecord(b, p)
		if d.reason == "" {
			d.commit(msg, index)
		} else if !d.badRow(m, Fault{Message: msg, Index: index, Start: start, End: p, Reason: d.reason}) {
			d.badPayload(m, msg, len(b), fmt.Sprintf("more than %d of its lines do not decode, the last because: %s",
				faultsMax, d.reason))
			return
		}
		index++
	}
}

// lineBreak returns the length of the line break at p, or 0.
func lineBreak(b []byte, p int) int {
	switch {
	case p < len(b) && b[p] == '\n':
		return 1
	case p+1 < len(b) && b[p] == '\r' && b[p+1] == '\n':
		return 2
	}
	return 0
}

// csvRecord reads one record into the row d.row and returns what follows it. It sets d.reason if the record
// does not decode.
func (d *Decoder) csvRecord(b []byte, p int) int {
	reason := ""
	for k := 0; ; k++ {
		text, quoted, next, ok := d.csvField(b, p)
		if !ok {
			return d.csvResync(b, next)
		}
		if reason == "" {
			reason = d.csvValue(k, text, quoted)
		}
		p = next
		if p < len(b) && b[p] == d.csv.delimiter {
			p++
			continue
		}
		if reason == "" && k+1 < len(d.csv.targets) {
			reason = fmt.Sprintf("%d fields where %d were expected", k+1, len(d.csv.targets))
		}
		d.reason = reason
		for _, n := range d.csv.missing {
			n.setNull(n.at(d.row))
		}
		return p + lineBreak(b, p)
	}
}

// csvResync goes to the line behind a field that is not CSV.
func (d *Decoder) csvResync(b []byte, p int) int {
	i := bytes.IndexByte(b[p:], '\n')
	if i < 0 {
		d.reason = "not valid CSV: a quoted field does not end"
		return len(b)
	}
	d.reason = fmt.Sprintf("not valid CSV at byte %d: a quoted field must end before a delimiter or a line break", p)
	return p + i + 1
}

// csvValue stores field k of the record and returns why it could not.
func (d *Decoder) csvValue(k int, text []byte, quoted bool) string {
	if k >= len(d.csv.targets) {
		return fmt.Sprintf("more than the %d fields that were expected", len(d.csv.targets))
	}
	n := d.csv.targets[k]
	if n == nil {
		return ""
	}
	if !quoted && string(text) == d.csv.null {
		n.setNull(n.at(d.row))
		return ""
	}
	if d.setText(n, n.at(d.row), text) {
		return ""
	}
	return d.reason
}

// csvField reads the field at p. Not ok means that a quoted field does not end as it should.
func (d *Decoder) csvField(b []byte, p int) (text []byte, quoted bool, next int, ok bool) {
	if p >= len(b) || b[p] != '"' {
		end := p
		for end < len(b) && b[end] != d.csv.delimiter && b[end] != '\n' {
			end++
		}
		next = end
		if end > p && b[end-1] == '\r' && (end == len(b) || b[end] == '\n') {
			end--
			if next < len(b) {
				next = end
			}
		}
		return b[p:end], false, next, true
	}
	d.csv.scratch = d.csv.scratch[:0]
	start := p + 1
	for {
		i := bytes.IndexByte(b[start:], '"')
		if i < 0 {
			return nil, true, len(b), false
		}
		end := start + i
		next = end + 1
		if next < len(b) && b[next] == '"' {
			d.csv.scratch = append(d.csv.scratch, b[start:next]...)
			start = next + 1
			continue
		}
		text = b[start:end]
		if len(d.csv.scratch) > 0 {
			d.csv.scratch = append(d.csv.scratch, text...)
			text = d.csv.scratch
		}
		ok = next == len(b) || b[next] == d.csv.delimiter || lineBreak(b, next) > 0
		return text, true, next, ok
	}
}

// csvHeader reads the line of names and returns what follows it, or -1 with d.reason set.
func (d *Decoder) csvHeader(b []byte, p int) int {
	if last := d.csv.last; len(last) > 0 && bytes.HasPrefix(b[p:], last) {
		return p + len(last)
	}
	start := p
	targets := make([]*node, 0, len(d.top.fields))
	seen := make(map[*node]bool, len(d.top.fields))
	for {
		name, _, next, ok := d.csvField(b, p)
		if !ok {
			d.reason = "not valid CSV in the header: a quoted name does not end"
			return -1
		}
		var n *node
		if f, known := d.top.index[string(name)]; known {
			n = d.top.fields[f]
			if seen[n] {
				d.reason = fmt.Sprintf("column %q stands twice in the CSV header", n.path)
				return -1
			}
			seen[n] = true
		}
		targets = append(targets, n)
		if p = next; p >= len(b) || b[p] != d.csv.delimiter {
			break
		}
		p++
	}
	if len(seen) == 0 && len(d.top.fields) > 0 {
		// Another delimiter, or no header at all: every value would be NULL without a word.
		d.reason = "the CSV header names none of the columns: " + show(bytes.TrimRight(b[start:p], "\r"), 80)
		return -1
	}
	p += lineBreak(b, p)
	d.csv.targets, d.csv.missing = targets, nil
	for _, n := range d.top.fields {
		if !seen[n] {
			d.csv.missing = append(d.csv.missing, n)
		}
	}
	d.csv.last = nil
	if p > start && b[p-1] == '\n' {
		d.csv.last = append(d.csv.last, b[start:p]...)
	}
	return p
}

// setText stores a value that stands in CSV or is a payload of its own.
func (d *Decoder) setText(n *node, i int, text []byte) bool {
	switch n.kind {
	case kindText:
		if !utf8.Valid(text) {
			return d.wrongText(n, "valid UTF-8", text)
		}
		d.setBytes(n, i, text)
		return true
	case kindUUID, kindEnum, kindBlob, kindDate, kindTime:
		return d.setString(n, i, text)
	case kindTimestamp:
		if d.tsUnit == unitISO {
			return d.setString(n, i, text)
		}
	case kindBool:
		text = bytes.ToLower(text)
	}
	// What is left is written as in JSON.
	d.b, d.p = text, 0
	if d.peek() == 'n' && n.kind < kindText {
		return d.wrongText(n, n.describe(), text)
	}
	if !d.value(n, i, 1) {
		return false
	}
	if d.peek(); d.p < len(d.b) {
		return d.wrongText(n, n.describe(), text)
	}
	return true
}
