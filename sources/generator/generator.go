// Package generator is a source of made-up rows. Row n is a pure function of the seed, the time base and n,
// so any range can be read again at any time and nothing is stored.
//
// The option fields says what the columns hold, for example
//
//	fields = 'user_id: int(1..1000), country: pick(DE|FR|US), amount: float(1..100), ts: time(step=1ms, jitter=5s)'
//
// A column that is not named gets a default for its type. Every kind takes null=5% for a share of NULLs.
//
//	int(LO..HI)                            uniform, both ends included
//	seq(start=0, step=1)                   start + n * step, cut to the width of the column
//	float(LO..HI, decimals=2)              uniform, rounded; DECIMAL columns round to their scale
//	pick(A|B|C)                            one of the values, with weights as in pick(A*5|B)
//	text(length=8) or text(prefix=u, LO..HI)  random letters, or the prefix and a number
//	bool(true=50%)
//	uuid()
//	time(step=1s, start=2024-01-01, jitter=5s, late=1%, late_by=10m)
//
// time gives start + n * step, less a random part of jitter (disorder), and for the share late less late_by
// too. Its step is one second divided by rate unless set, its start the time at which the query began.
package generator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

const (
	// endlessRows is what there is at any time of a generator that has neither a rate nor an end.
	endlessRows = 100_000
	// rowsMax bounds n so that times and sequences never overflow.
	rowsMax = 1 << 50
)

// Connector returns the generator's connector.
func Connector() stream.SourceConnector {
	return stream.SourceConnector{
		Spec: stream.Spec{
			Name:      "generator",
			Summary:   "Rows made up from a seed, for demos and load tests.",
			Guarantee: "Replays any range for ever: a row is a function of its number.",
			Fields: []stream.Field{
				{Name: "fields", Type: stream.String, Fixed: true, Summary: "What the columns hold, as in 'id: seq(), " +
					"country: pick(DE|FR), amount: float(1..100), ts: time(jitter=5s)'. Columns that are not named get a default for their type."},
				{Name: "rate", Type: stream.Int, Default: "0", Min: 0, Max: 1_000_000_000, Fixed: true, Summary: "Rows per second; 0 for as many as are asked for."},
				{Name: "rows", Type: stream.Int, Default: "0", Min: 0, Max: rowsMax, Summary: "Rows in all; 0 for no end."},
				{Name: "seed", Type: stream.Int, Default: "1", Min: -1 << 62, Max: 1 << 62, Fixed: true, Summary: "Another seed gives other rows."},
			},
			Example: "CREATE SOURCE orders (user_id BIGINT, amount DOUBLE, ts TIMESTAMP,\n" +
				"  WATERMARK FOR ts AS ts - INTERVAL '10 seconds')\n" +
				"  WITH (connector = 'generator', rate = 1000, fields = 'user_id: int(1..500), ts: time(jitter=5s)');",
		},
		Typed: true,
		Open: func(_ context.Context, cfg stream.SourceConfig) (stream.Source, error) {
			return open(cfg)
		},
	}
}

type source struct {
	cfg    stream.SourceConfig
	schema *arrow.Schema
	makers []maker // one a column
	rate   int64
	rows   int64
}

// position is an offset: how many rows have been read, and when the query began.
type position struct {
	Rows int64 `json:"rows"`
	Base int64 `json:"base"` // microseconds since 1970
}

func open(cfg stream.SourceConfig) (*source, error) {
	s := &source{cfg: cfg, rate: cfg.Options.Int("rate"), rows: cfg.Options.Int("rows")}
	if s.rows == 0 {
		s.rows = rowsMax
	}
	specs, wrong := parseFields(cfg.Options.String("fields"))
	var faults diag.List
	for _, err := range wrong {
		faults = append(faults, s.refuse(err))
	}
	fields := make([]arrow.Field, len(cfg.Columns))
	for i, c := range cfg.Columns {
		fields[i] = arrow.Field{Name: c.Name, Type: c.Arrow, Nullable: true}
		m, err := s.maker(c, specs)
		delete(specs, c.Name)
		if err != nil {
			faults = append(faults, s.refuse(fmt.Errorf("column %q: %w", c.Name, err)))
		}
		m.salt = mix(uint64(cfg.Options.Int("seed")) ^ hash(c.Name))
		s.makers = append(s.makers, m)
	}
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		faults = append(faults, s.unknownColumn(name))
	}
	s.schema = arrow.NewSchema(fields, nil)
	return s, faults.Err()
}

// maker makes what the values of a column come from.
func (s *source) maker(c stream.Column, specs map[string]spec) (maker, error) {
	sp, named := specs[c.Name]
	if named && c.Metadata {
		return maker{}, errors.New("it is METADATA and can not be made up")
	}
	return newMaker(c, sp, s.rate)
}

func (s *source) refuse(err error) *diag.Error {
	return diag.Wrap(diag.BadOption, err, "source %q: option fields can not be used", s.cfg.Name).OfOption("fields").
		WithHint("write it as  fields = 'id: seq(), n: int(1..10), s: pick(a|b), x: float(0..1), ts: time(jitter=5s)'")
}

func (s *source) unknownColumn(name string) *diag.Error {
	var names []string
	for _, c := range s.cfg.Columns {
		names = append(names, c.Name)
	}
	e := diag.New(diag.UnknownColumn, "source %q: option fields names the column %q, which does not exist", s.cfg.Name, name).OfOption("fields").
		WithNote("columns: %s", strings.Join(names, ", "))
	if near := diag.Near(name, names); near != "" {
		e.WithHint("did you mean %q?", near)
	}
	return e
}

func (s *source) identity() string {
	return fmt.Sprintf("generator seed %d", s.cfg.Options.Int("seed"))
}

func (s *source) Start(context.Context) (from stream.Offset, identity string, err error) {
	return position{Base: s.cfg.Clock.Now().UnixMicro()}.offset(), s.identity(), nil
}

func (p position) offset() stream.Offset {
	return stream.Offset(fmt.Sprintf(`{"rows":%d,"base":%d}`, p.Rows, p.Base))
}

func (s *source) position(o stream.Offset) (position, error) {
	var p position
	if err := json.Unmarshal([]byte(o), &p); err != nil || p.offset() != o || p.Rows < 0 || p.Rows > rowsMax {
		return p, diag.New(diag.CheckpointUnusable, "source %q: %q is not an offset of a generator", s.cfg.Name, o)
	}
	return p, nil
}

// due returns how many rows exist by now.
func (s *source) due(p position) int64 {
	if s.rate == 0 {
		return s.rows
	}
	elapsed := max(0, s.cfg.Clock.Now().UnixMicro()-p.Base)
	hi, lo := bits.Mul64(uint64(elapsed), uint64(s.rate))
	if hi >= 1_000_000 {
		return s.rows
	}
	n, _ := bits.Div64(hi, lo, 1_000_000)
	return int64(min(n, uint64(s.rows)))
}

func (s *source) Available(_ context.Context, from stream.Offset, id string, limit stream.Limit) (stream.Available, error) {
	if id != "" && id != s.identity() {
		return stream.Available{}, diag.New(diag.SourceReplaced, "source %q is %s, but the query began with %s",
			s.cfg.Name, s.identity(), id).WithHint("set the seed back, or start the query in a new data dir")
	}
	p, err := s.position(from)
	if err != nil {
		return stream.Available{}, err
	}
	due := max(p.Rows, s.due(p))
	to := due
	switch {
	case limit.Rows > 0:
		to = min(due, p.Rows+limit.Rows)
	case s.rate == 0 && s.rows == rowsMax:
		to = min(due, p.Rows+endlessRows)
	}
	if limit.Until != "" {
		until, err := s.position(limit.Until)
		if err != nil {
			return stream.Available{}, err
		}
		to = max(p.Rows, min(to, until.Rows))
	}
	behind := due - to
	if s.rate == 0 && s.rows == rowsMax {
		behind = -1
	}
	return stream.Available{To: position{to, p.Base}.offset(), Identity: s.identity(), Behind: behind}, nil
}

// Wait sleeps until the next row is due. When there are no more rows it waits for the context.
func (s *source) Wait(ctx context.Context, from stream.Offset) error {
	p, err := s.position(from)
	if err != nil {
		return err
	}
	if p.Rows >= s.rows {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	for s.due(p) <= p.Rows {
		// At most a second at a time, which keeps the product small; at least a microsecond beyond the due
		// time.
		wait := min(time.Second, time.Duration(1_000_000_000/s.rate)+time.Microsecond)
		if err := s.cfg.Clock.Sleep(ctx, wait); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) Read(ctx context.Context, r stream.Range) (*stream.Input, error) {
	from, err := s.position(r.From)
	if err != nil {
		return nil, err
	}
	to, err := s.position(r.To)
	if err != nil {
		return nil, err
	}
	if from.Base != to.Base || to.Rows < from.Rows {
		return nil, diag.New(diag.CheckpointUnusable, "source %q: %s to %s is not a range", s.cfg.Name, r.From, r.To)
	}
	if to.Rows == from.Rows {
		return &stream.Input{}, context.Cause(ctx)
	}
	columns := make([]arrow.Array, 0, len(s.makers))
	defer func() {
		for _, c := range columns {
			c.Release()
		}
	}()
	for i := range s.makers {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		columns = append(columns, s.makers[i].column(from, to.Rows))
	}
	return &stream.Input{Rows: []arrow.Record{array.NewRecord(s.schema, columns, to.Rows-from.Rows)}}, nil
}

// column makes the values of the rows after from up to to.
func (m *maker) column(from position, to int64) arrow.Array {
	b := array.NewBuilder(memory.DefaultAllocator, m.dtype)
	defer b.Release()
	b.Reserve(int(to - from.Rows))
	for n := from.Rows; n < to; n++ {
		if m.nulls > 0 && m.random(n, saltNull)>>11 < m.nulls {
			b.AppendNull()
			continue
		}
		m.add(b, m, n, from.Base)
	}
	return b.NewArray()
}

func (s *source) Acknowledge(context.Context, stream.Offset) error { return nil }

func (s *source) Close() error { return nil }

// mix is the finisher of SplitMix64: every bit of x moves every bit of the result.
func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// hash is FNV-1a.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
