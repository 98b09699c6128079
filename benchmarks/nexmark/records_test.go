package nexmark_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/benchmarks/nexmark"
)

// TestJSONAndArrowAgree writes the same events both ways, the records in two rounds of one set of builders,
// and compares cell by cell.
func TestJSONAndArrowAgree(t *testing.T) {
	t.Parallel()
	const events = 2_000
	g := newGenerator(t, nexmark.Config{Seed: 4})
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	build := nexmark.NewBuilders(mem)
	defer build.Release()
	out := map[nexmark.Kind]*bytes.Buffer{}
	to := map[nexmark.Kind]io.Writer{}
	for _, k := range nexmark.Kinds() {
		out[k] = &bytes.Buffer{}
		to[k] = out[k]
	}
	require.NoError(t, g.WriteJSON(to, 0, events))
	decoders := map[nexmark.Kind]*json.Decoder{}
	for k, b := range out {
		decoders[k] = json.NewDecoder(b)
		decoders[k].UseNumber()
	}
	rows := 0
	for _, half := range []int64{0, events / 2} {
		require.NoError(t, g.Each(half, half+events/2, func(e *nexmark.Event) error {
			build.Append(e)
			return nil
		}))
		for _, k := range nexmark.Kinds() {
			require.Positive(t, build.Rows(k))
			rec := build.Record(k)
			require.Zero(t, build.Rows(k))
			require.True(t, nexmark.Schema(k).Equal(rec.Schema()))
			rows += requireSameRows(t, decoders[k], rec)
			rec.Release()
		}
	}
	require.Equal(t, events, rows)
	for k, d := range decoders {
		require.False(t, d.More(), "%s has more lines than rows", k)
	}
}

// requireSameRows compares a record with as many lines and returns their number.
func requireSameRows(t *testing.T, lines *json.Decoder, rec arrow.Record) int {
	t.Helper()
	for i := range int(rec.NumRows()) {
		var line map[string]any
		require.NoError(t, lines.Decode(&line))
		require.Len(t, line, int(rec.NumCols()))
		for c, f := range rec.Schema().Fields() {
			want := ""
			switch col := rec.Column(c).(type) {
			case *array.Int64:
				want = fmt.Sprint(col.Value(i))
			case *array.String:
				want = col.Value(i)
			case *array.Timestamp:
				want = time.UnixMicro(int64(col.Value(i))).UTC().Format("2006-01-02T15:04:05.000")
			default:
				require.Fail(t, "column "+f.Name+" has another type")
			}
			require.Equal(t, want, fmt.Sprint(line[f.Name]), f.Name)
		}
	}
	return int(rec.NumRows())
}

// TestWriteJSONPassesFaultsOn has one writer only, which is full.
func TestWriteJSONPassesFaultsOn(t *testing.T) {
	t.Parallel()
	g := newGenerator(t, nexmark.Config{})
	to := map[nexmark.Kind]io.Writer{nexmark.KindBid: fullWriter{}}
	require.ErrorIs(t, g.WriteJSON(to, 0, 100), errFull)
	require.ErrorIs(t, g.WriteJSON(to, 0, 10_000), errFull)
}

var errFull = errors.New("full")

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errFull }
