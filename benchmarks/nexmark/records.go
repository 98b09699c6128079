package nexmark

import (
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// Schema returns the columns of a kind's stream in order, as the sources of Script declare them.
func Schema(k Kind) *arrow.Schema {
	text, number := arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64
	at := &arrow.TimestampType{Unit: arrow.Microsecond}
	column := func(name string, t arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: t, Nullable: true}
	}
	switch k {
	case KindPerson:
		return arrow.NewSchema([]arrow.Field{column("id", number), column("name", text),
			column("emailAddress", text), column("creditCard", text), column("city", text),
			column("state", text), column("dateTime", at), column("extra", text)}, nil)
	case KindAuction:
		return arrow.NewSchema([]arrow.Field{column("id", number), column("itemName", text),
			column("description", text), column("initialBid", number), column("reserve", number),
			column("dateTime", at), column("expires", at), column("seller", number),
			column("category", number), column("extra", text)}, nil)
	case KindBid:
		return arrow.NewSchema([]arrow.Field{column("auction", number), column("bidder", number),
			column("price", number), column("channel", text), column("url", text), column("dateTime", at),
			column("extra", text)}, nil)
	}
	panic(fmt.Sprintf("there is no %s", k))
}

// Builders gather events into Arrow records, one for each kind, over and over again. One goroutine uses it.
type Builders struct {
	kinds [3]builder
}

// builder has the typed builders of one kind in the order in which the kind's columns of that type stand.
type builder struct {
	record  *array.RecordBuilder
	numbers []*array.Int64Builder
	texts   []*array.StringBuilder
	times   []*array.TimestampBuilder
}

// NewBuilders returns empty Builders, which the caller releases.
func NewBuilders(mem memory.Allocator) *Builders {
	bs := &Builders{}
	for _, k := range Kinds() {
		b := builder{record: array.NewRecordBuilder(mem, Schema(k))}
		for _, f := range b.record.Fields() {
			switch f := f.(type) {
			case *array.Int64Builder:
				b.numbers = append(b.numbers, f)
			case *array.StringBuilder:
				b.texts = append(b.texts, f)
			case *array.TimestampBuilder:
				b.times = append(b.times, f)
			}
		}
		bs.kinds[k] = b
	}
	return bs
}

// Append adds an event to the records of its kind.
func (bs *Builders) Append(e *Event) {
	b := &bs.kinds[e.Kind]
	switch e.Kind {
	case KindPerson:
		p := &e.Person
		b.append([]int64{p.ID},
			[]string{p.Name, p.EmailAddress, p.CreditCard, p.City, p.State, p.Extra}, p.DateTime)
	case KindAuction:
		a := &e.Auction
		b.append([]int64{a.ID, a.InitialBid, a.Reserve, a.Seller, a.Category},
			[]string{a.ItemName, a.Description, a.Extra}, a.DateTime, a.Expires)
	case KindBid:
		d := &e.Bid
		b.append([]int64{d.Auction, d.Bidder, d.Price}, []string{d.Channel, d.URL, d.Extra}, d.DateTime)
	}
}

func (b *builder) append(numbers []int64, texts []string, timesMs ...int64) {
	for i, v := range numbers {
		b.numbers[i].Append(v)
	}
	for i, v := range texts {
		b.texts[i].Append(v)
	}
	for i, ms := range timesMs {
		b.times[i].Append(arrow.Timestamp(ms * 1000))
	}
}

// Rows returns how many events of a kind have been appended since the last Record.
func (bs *Builders) Rows(k Kind) int { return bs.kinds[k].record.Field(0).Len() }

// Record returns the events of a kind that were appended since the last call, in order, for the caller to
// release. Room for as many events of the same size is kept ready.
func (bs *Builders) Record(k Kind) arrow.Record {
	b := &bs.kinds[k]
	sizes := make([]int, len(b.texts))
	for i, t := range b.texts {
		sizes[i] = t.DataLen()
	}
	rec := b.record.NewRecord()
	b.record.Reserve(int(rec.NumRows()))
	for i, t := range b.texts {
		t.ReserveData(sizes[i])
	}
	return rec
}

// Release frees the builders.
func (bs *Builders) Release() {
	for _, b := range bs.kinds {
		b.record.Release()
	}
}
