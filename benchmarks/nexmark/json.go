package nexmark

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"time"
)

// AppendJSON appends the event as one JSON object whose keys are the columns of its stream. No value that the
// rules can make needs escaping.
func AppendJSON(b []byte, e *Event) []byte {
	switch e.Kind {
	case KindPerson:
		p := &e.Person
		b = strconv.AppendInt(append(b, `{"id":`...), p.ID, 10)
		b = append(append(b, `,"name":"`...), p.Name...)
		b = append(append(b, `","emailAddress":"`...), p.EmailAddress...)
		b = append(append(b, `","creditCard":"`...), p.CreditCard...)
		b = append(append(b, `","city":"`...), p.City...)
		b = append(append(b, `","state":"`...), p.State...)
		b = appendTime(append(b, `","dateTime":"`...), p.DateTime)
		b = append(append(b, `","extra":"`...), p.Extra...)
	case KindAuction:
		a := &e.Auction
		b = strconv.AppendInt(append(b, `{"id":`...), a.ID, 10)
		b = append(append(b, `,"itemName":"`...), a.ItemName...)
		b = append(append(b, `","description":"`...), a.Description...)
		b = strconv.AppendInt(append(b, `","initialBid":`...), a.InitialBid, 10)
		b = strconv.AppendInt(append(b, `,"reserve":`...), a.Reserve, 10)
		b = appendTime(append(b, `,"dateTime":"`...), a.DateTime)
		b = appendTime(append(b, `","expires":"`...), a.Expires)
		b = strconv.AppendInt(append(b, `","seller":`...), a.Seller, 10)
		b = strconv.AppendInt(append(b, `,"category":`...), a.Category, 10)
		b = append(append(b, `,"extra":"`...), a.Extra...)
	case KindBid:
		d := &e.Bid
		b = strconv.AppendInt(append(b, `{"auction":`...), d.Auction, 10)
		b = strconv.AppendInt(append(b, `,"bidder":`...), d.Bidder, 10)
		b = strconv.AppendInt(append(b, `,"price":`...), d.Price, 10)
		b = append(append(b, `,"channel":"`...), d.Channel...)
		b = append(append(b, `","url":"`...), d.URL...)
		b = appendTime(append(b, `","dateTime":"`...), d.DateTime)
		b = append(append(b, `","extra":"`...), d.Extra...)
	}
	return append(b, `"}`...)
}

// appendTime appends milliseconds since 1970 in ISO 8601, without a zone.
func appendTime(b []byte, ms int64) []byte {
	return time.UnixMilli(ms).UTC().AppendFormat(b, "2006-01-02T15:04:05.000")
}

// WriteJSON writes the events from (included) to until (excluded), one JSON object a line, each to the writer
// of its kind. Kinds without a writer are left out.
func (g *Generator) WriteJSON(to map[Kind]io.Writer, from, until int64) error {
	var out [3]*bufio.Writer
	for kind, w := range to {
		out[kind] = bufio.NewWriterSize(w, 1<<18)
	}
	var line []byte
	err := g.Each(from, until, func(e *Event) error {
		w := out[e.Kind]
		if w == nil {
			return nil
		}
		line = append(AppendJSON(line[:0], e), '\n')
		if _, err := w.Write(line); err != nil {
			return fmt.Errorf("write %s %d: %w", e.Kind, e.ID, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, kind := range Kinds() {
		if w := out[kind]; w != nil {
			if err := w.Flush(); err != nil {
				return fmt.Errorf("write %ss: %w", kind, err)
			}
		}
	}
	return nil
}
