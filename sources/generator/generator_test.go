package generator

import (
	"context"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/sources/sourcetest"
	"github.com/tidemill/tidemill/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func columns() []stream.Column {
	str := arrow.BinaryTypes.String
	return []stream.Column{
		{Name: "id", Type: "BIGINT", Arrow: arrow.PrimitiveTypes.Int64},
		{Name: "n", Type: "TINYINT", Arrow: arrow.PrimitiveTypes.Int8},
		{Name: "x", Type: "DOUBLE", Arrow: arrow.PrimitiveTypes.Float64},
		{Name: "price", Type: "DECIMAL(10,2)", Arrow: &arrow.Decimal128Type{Precision: 10, Scale: 2}},
		{Name: "country", Type: "VARCHAR", Arrow: str}, {Name: "word", Type: "VARCHAR", Arrow: str},
		{Name: "uid", Type: "UUID", Arrow: str}, {Name: "ok", Type: "BOOLEAN", Arrow: arrow.FixedWidthTypes.Boolean},
		{Name: "ts", Type: "TIMESTAMP", Arrow: &arrow.TimestampType{Unit: arrow.Microsecond}},
		{Name: "sequence", Type: "UBIGINT", Arrow: arrow.PrimitiveTypes.Uint64, Metadata: true},
		{Name: "subject", Type: "VARCHAR", Arrow: str, Metadata: true},
	}
}

const fields = `id: seq(start=10, step=5), n: int(-3..3, null=50%), country: pick(DE*3|FR|United States), word: text(prefix=u-, 1..3),
	ts: time(step=1ms, jitter=5s, start=2024-01-01, late=10%, late_by=1h)`

func options(rows, rate int64, fields string) stream.Options {
	return stream.Options{"fields": fields, "rows": rows, "rate": rate, "seed": int64(7)}
}

func config(o stream.Options, c clock.Clock) stream.SourceConfig {
	return stream.SourceConfig{Name: "g", Columns: columns(), Options: o, Clock: c}
}

func TestContract(t *testing.T) {
	t.Parallel()
	sourcetest.Run(t, func(*testing.T) sourcetest.Harness {
		rows := 0
		return sourcetest.Harness{
			Open: func(t *testing.T) stream.Source {
				s, err := Connector().Open(t.Context(), config(options(int64(rows), 0, fields), clock.NewManual(time.Unix(1e9, 0))))
				require.NoError(t, err)
				return s
			},
			Add: func(_ *testing.T, n int) { rows += n },
		}
	}, sourcetest.Features{Rows: true, Fixed: true})
}

func TestValues(t *testing.T) {
	t.Parallel()
	s, err := open(config(options(0, 0, fields), clock.NewManual(time.Unix(1e9, 0))))
	require.NoError(t, err)
	in, err := s.Read(t.Context(), stream.Range{From: position{0, 5}.offset(), To: position{10_000, 5}.offset()})
	require.NoError(t, err)
	defer in.Release()
	countries, nulls, late := map[string]int{}, 0, 0
	start := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	col := func(i int) arrow.Array { return in.Rows[0].Column(i) }
	for i := range int(in.Rows[0].NumRows()) {
		require.Equal(t, int64(10+5*i), col(0).(*array.Int64).Value(i))
		if col(1).IsNull(i) {
			nulls++
		} else {
			require.LessOrEqual(t, max(col(1).(*array.Int8).Value(i), -col(1).(*array.Int8).Value(i)), int8(3))
		}
		countries[col(4).(*array.String).Value(i)]++
		require.Contains(t, []string{"u-1", "u-2", "u-3"}, col(5).(*array.String).Value(i))
		behind := start + int64(i)*1000 - int64(col(8).(*array.Timestamp).Value(i))
		require.GreaterOrEqual(t, behind, int64(0))
		if behind > 5_000_000 {
			require.GreaterOrEqual(t, behind, int64(3600_000_000))
			late++
		}
		require.Equal(t, uint64(i+1), col(9).(*array.Uint64).Value(i))
		require.True(t, col(10).IsNull(i))
	}
	require.InDelta(t, 5000, nulls, 300)
	require.InDelta(t, 1000, late, 200)
	require.InDelta(t, 6000, countries["DE"], 300)
	require.InDelta(t, 2000, countries["United States"], 300)
	require.Len(t, countries, 3)
}

func TestRate(t *testing.T) {
	t.Parallel()
	c := clock.NewManual(time.Unix(1e9, 0))
	s, err := open(config(options(100, 10, ""), c))
	require.NoError(t, err)
	from, _, err := s.Start(t.Context())
	require.NoError(t, err)
	rows := func() int64 {
		a, err := s.Available(t.Context(), from, "", stream.Limit{})
		require.NoError(t, err)
		p, err := s.position(a.To)
		require.NoError(t, err)
		return p.Rows
	}
	require.Zero(t, rows())
	waited := make(chan error, 1)
	go func() { waited <- s.Wait(t.Context(), from) }()
	c.Advance(1500 * time.Millisecond)
	// The waiter may have begun to sleep after the clock moved, so the clock moves until it returns.
	require.Eventually(t, func() bool {
		c.Advance(time.Millisecond)
		return len(waited) == 1
	}, time.Minute, time.Millisecond)
	require.NoError(t, <-waited)
	require.GreaterOrEqual(t, rows(), int64(15))
	c.Advance(time.Hour)
	require.Equal(t, int64(100), rows())
	c.Advance(1_000_000 * time.Hour)
	require.Equal(t, int64(100), rows())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Wait(ctx, position{100, 1e15}.offset()), context.Canceled)
}

// TestNoLimit asks for all there is, as AVAILABLE NOW and batch runs do to know their end: no limit is no bound.
func TestNoLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ rows, rate, want int64 }{{250_000, 0, 250_000}, {0, 1000, 3_600_000}, {0, 0, endlessRows}} {
		k := clock.NewManual(time.Unix(1_700_000_000, 0))
		s, err := open(config(options(c.rows, c.rate, ""), k))
		require.NoError(t, err)
		from, _, err := s.Start(t.Context())
		require.NoError(t, err)
		k.Advance(time.Hour)
		a, err := s.Available(t.Context(), from, "", stream.Limit{})
		require.NoError(t, err)
		p, err := s.position(a.To)
		require.NoError(t, err)
		require.Equal(t, c.want, p.Rows)
	}
}

func TestBadFields(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fields, contains string
		code             diag.Code
	}{
		{"id", "not of the form column: kind(...)", diag.BadOption}, {"id: seq", "kind(...)", diag.BadOption},
		{"idd: seq()", `"idd", which does not exist`, diag.UnknownColumn}, {"id: seq(), id: seq()", "twice", diag.BadOption},
		{"id: zipf()", "there is no kind zipf()", diag.BadOption}, {"id: seq(stepp=1)", `no argument "stepp"`, diag.BadOption},
		{"n: int(0..300)", "more than TINYINT", diag.BadOption}, {"n: int(3..1)", "not a range", diag.BadOption},
		{"n: float(0..1)", "does not give TINYINT", diag.BadOption}, {"x: float(0..inf)", "not a range", diag.BadOption},
		{"country: seq()", "does not give VARCHAR", diag.BadOption}, {"n: pick(1|x)", "not a value of TINYINT", diag.BadOption},
		{"country: pick(a*0)", "weight", diag.BadOption}, {"ts: time(jitter=soon)", "duration", diag.BadOption},
		{"ts: time(start=soon)", "not a time", diag.BadOption}, {"ok: bool(true=120%)", "share", diag.BadOption},
		{"word: text(length=100000)", "65536", diag.BadOption}, {"price: float(0..1e12)", "more than DECIMAL", diag.BadOption},
		{"sequence: seq()", "METADATA", diag.BadOption}, {"x: float(zzz)", "neither a range", diag.BadOption},
	} {
		_, err := open(config(options(0, 0, c.fields), clock.System{}))
		require.Equal(t, c.code, diag.CodeOf(err), "%s: %v", c.fields, err)
		require.ErrorContains(t, err, c.contains)
	}
	cfg := config(options(0, 0, ""), clock.System{})
	cfg.Columns = []stream.Column{{Name: "l", Type: "BIGINT[]", Arrow: arrow.ListOf(arrow.PrimitiveTypes.Int64)}}
	_, err := open(cfg)
	require.ErrorContains(t, err, "BIGINT[] can not be made up")
}
