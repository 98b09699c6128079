package main

import (
	"bufio"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/rowenc"
)

// printRows writes records in one of the output forms, every digit kept. Columns keep their names and order.
func printRows(w io.Writer, form string, schema *arrow.Schema, records []arrow.Record) error {
	out := bufio.NewWriterSize(w, 64<<10)
	if form == "table" {
		if _, err := out.WriteString(rowTable(schema, records)); err != nil {
			return fmt.Errorf("write rows: %w", err)
		}
	} else {
		writeRows(out, form, schema, records)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	return nil
}

// writeRows leaves write errors to Flush, which reports the first.
func writeRows(out *bufio.Writer, form string, schema *arrow.Schema, records []arrow.Record) {
	var line []byte
	if form == "csv" {
		_, _ = out.Write(rowenc.Header(nil, schema, ','))
	}
	if form == "json" {
		_ = out.WriteByte('[')
	}
	first := true
	for _, rec := range records {
		rows := rowenc.Bind(rec, len(schema.Fields()))
		for i := range int(rec.NumRows()) {
			line = line[:0]
			switch {
			case form == "csv":
				line = rows.CSV(line, i, ',')
			case form == "json" && first:
				line = rows.JSON(append(line, "\n  "...), i)
			case form == "json":
				line = rows.JSON(append(line, ",\n  "...), i)
			default:
				line = append(rows.JSON(line, i), '\n')
			}
			first = false
			_, _ = out.Write(line)
		}
	}
	switch {
	case form == "json" && first:
		_, _ = out.WriteString("]\n")
	case form == "json":
		_, _ = out.WriteString("\n]\n")
	}
}

// rowTable lays rows out for people, with the number of rows below.
func rowTable(schema *arrow.Schema, records []arrow.Record) string {
	l := listing{verbatim: true, right: map[string]bool{}}
	for _, f := range schema.Fields() {
		l.columns = append(l.columns, f.Name)
		l.right[f.Name] = rowenc.Numeric(f.Type)
	}
	for _, rec := range records {
		rows := rowenc.Bind(rec, len(l.columns))
		for i := range int(rec.NumRows()) {
			cells := make([]any, len(l.columns))
			for c := range l.columns {
				text, ok := rows.Text(nil, c, i)
				if !ok {
					text = []byte("NULL")
				}
				cells[c] = string(text)
			}
			l.add(cells...)
		}
	}
	return l.table() + fmt.Sprintf("(%s)\n", plural(int64(len(l.rows)), "row"))
}

// plural writes "1 row" and "2,000 rows".
func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(n) + " " + what + "s"
}
