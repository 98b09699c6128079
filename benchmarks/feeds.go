package benchmarks

import (
	"fmt"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/benchmarks/nexmark"
)

// feedSpec says which rows the steps of a task have. They are a pure function of it, so that the engine's
// process and plain DuckDB have the same.
type feedSpec struct {
	Kind  string  `json:"kind"` // keys, windows, pairs, groups or nexmark
	Seed  uint64  `json:"seed"`
	Rows  int64   `json:"rows"`            // of a step
	Rate  int64   `json:"rate,omitempty"`  // rows in one second of event time
	Keys  int64   `json:"keys,omitempty"`  // how many there are
	Sizes []int64 `json:"sizes,omitempty"` // of keys: rows of the steps after the load
	Open  int64   `json:"open,omitempty"`  // of groups: how many windows are open
	Total int64   `json:"total,omitempty"` // of windows and nexmark: rows in all
}

// A feed gives the rows of step n by source, for the caller to release.
type feed func(n int) map[string]arrow.Record

const loadRows = 100_000 // of a step that only fills state

func (s feedSpec) feed() (feed, error) {
	switch s.Kind {
	case "keys":
		return s.keys, nil
	case "windows":
		return s.windows, nil
	case "pairs":
		return s.pairs, nil
	case "groups":
		return s.groups, nil
	case "nexmark":
		g, err := nexmark.New(nexmark.Config{Seed: s.Seed, Rate: s.Rate})
		if err != nil {
			return nil, err //nolint:wrapcheck // says what
		}
		build := nexmark.NewBuilders(memory.DefaultAllocator)
		return func(n int) map[string]arrow.Record { return s.nexmark(g, build, n) }, nil
	}
	return nil, fmt.Errorf("there is no feed %q", s.Kind)
}

// loads is how many steps bring each key for the first time.
func (s feedSpec) loads() int { return steps(s.Keys, loadRows) }

// steps is how many pieces of a size make up a total.
func steps(total, size int64) int { return int((total + size - 1) / size) }

func (s feedSpec) random(n, row int64) uint64 { return mix(s.Seed ^ mix(uint64(n)<<32^uint64(row))) }

// keys brings each of Keys random numbers once, then rows of any of them, and then each once more.
func (s feedSpec) keys(n int) map[string]arrow.Record {
	middle, nth := n-s.loads(), n
	load := middle < 0
	if after := middle - len(s.Sizes); after >= 0 {
		load, nth = true, after
	}
	from := int64(nth) * loadRows
	rows := min(loadRows, s.Keys-from)
	if !load {
		rows = s.Sizes[middle]
	}
	return map[string]arrow.Record{"rows": record(rows, []string{"k", "v"}, func(i int64, to []int64) {
		r := s.random(int64(n), i)
		key := from + i
		if !load {
			key = int64(r>>8) % s.Keys
		}
		to[0], to[1] = int64(mix(uint64(key))), int64(r%1000) // mix never gives two keys the same number
	})}
}

const (
	windowsKeys     = 200
	windowsDisorder = 1000 // milliseconds
)

// eventZero is the event time of the first row, a whole number of any window that the suites ask for.
func eventZero() int64 { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro() }

// windows are rows of few keys whose times are out of order by less than a second.
func (s feedSpec) windows(n int) map[string]arrow.Record {
	from := int64(n) * s.Rows
	rows := min(s.Rows, s.Total-from)
	return map[string]arrow.Record{"rows": record(rows, []string{"k", "v", "ts"}, func(i int64, to []int64) {
		r := s.random(0, from+i)
		to[0], to[1] = int64(r%windowsKeys), int64(r>>16%10_000)
		to[2] = eventZero() + (from+i)*1_000_000/s.Rate + int64(r>>32%windowsDisorder)*1000
	})}
}

const pairSeconds = 60 // how long after its left row a right row comes at most

// pairs are two streams: each right row has the key of one left row of the last minute, and each left row a
// key of its own. A step is Rows of each.
func (s feedSpec) pairs(n int) map[string]arrow.Record {
	from := int64(n) * s.Rows
	names := []string{"k", "v", "ts"}
	at := func(i int64) int64 { return eventZero() + i*1_000_000/s.Rate }
	left := record(s.Rows, names, func(i int64, to []int64) {
		to[0], to[1], to[2] = int64(mix(uint64(from+i))), from+i, at(from+i)
	})
	right := record(s.Rows, names, func(i int64, to []int64) {
		row := from + i
		back := int64(s.random(1, row)>>8) % (pairSeconds * s.Rate)
		to[0], to[1], to[2] = int64(mix(uint64(row-back))), row, at(row)
	})
	return map[string]arrow.Record{"shown": left, "clicked": right}
}

// groups fills Open windows of a second with Keys groups each, then each step opens one more window, and
// with it the oldest one ends. Beside the new groups a step has as many rows of open ones.
func (s feedSpec) groups(n int) map[string]arrow.Record {
	perStep := max(1, loadRows/s.Keys)
	fill := steps(s.Open, perStep)
	if n < fill {
		first := int64(n) * perStep
		windows := min(perStep, s.Open-first)
		rec := record(windows*s.Keys, []string{"k", "v", "ts"}, func(i int64, to []int64) {
			to[0], to[1], to[2] = i%s.Keys, i%7, eventZero()+(first+i/s.Keys)*1_000_000
		})
		return map[string]arrow.Record{"rows": rec}
	}
	window := s.Open + int64(n-fill)
	return map[string]arrow.Record{"rows": record(2*s.Keys, []string{"k", "v", "ts"}, func(i int64, to []int64) {
		at := window
		if i >= s.Keys { // any window that the watermark has not reached
			at -= int64(s.random(int64(n), i)>>8) % max(1, s.Open-2)
		}
		to[0], to[1], to[2] = i%s.Keys, i%7, eventZero()+at*1_000_000
	})}
}

func (s feedSpec) nexmark(g *nexmark.Generator, build *nexmark.Builders, n int) map[string]arrow.Record {
	from := int64(n) * s.Rows
	var e nexmark.Event
	for k := from; k < min(from+s.Rows, s.Total); k++ {
		g.Event(k, &e)
		build.Append(&e)
	}
	out := map[string]arrow.Record{}
	for _, k := range nexmark.Kinds() {
		out[k.String()] = build.Record(k)
	}
	return out
}

// record makes rows of BIGINT columns; a column named ts is a TIMESTAMP in microseconds.
func record(rows int64, names []string, fill func(row int64, to []int64)) arrow.Record {
	columns := make([][]int64, len(names))
	for c := range columns {
		columns[c] = make([]int64, rows)
	}
	to := make([]int64, len(names))
	for i := range rows {
		fill(i, to)
		for c, v := range to {
			columns[c][i] = v
		}
	}
	fields := make([]arrow.Field, len(names))
	arrays := make([]arrow.Array, len(names))
	for c, name := range names {
		fields[c] = arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64, Nullable: true}
		if name == "ts" {
			fields[c].Type = &arrow.TimestampType{Unit: arrow.Microsecond}
		}
		data := array.NewData(fields[c].Type, int(rows), []*memory.Buffer{nil,
			memory.NewBufferBytes(arrow.Int64Traits.CastToBytes(columns[c]))}, nil, 0, 0)
		arrays[c] = array.MakeFromData(data)
		data.Release()
		defer arrays[c].Release()
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), arrays, rows)
}
