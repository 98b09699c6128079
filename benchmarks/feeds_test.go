package benchmarks

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/benchmarks/nexmark"
	"github.com/tidemill/tidemill/internal/duck"
)

// TestData asks that what is written for other engines is what the suite reads itself, a file of each stream for each
// batch.
func TestData(t *testing.T) {
	t.Parallel()
	p, err := openPlain(t.Context(), t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.close()) })
	spec := nexmarkFeed(7, 1_030, 500, 50)
	require.NoError(t, p.load(t.Context(), spec, 3))
	for _, format := range []string{inputParquet, inputNDJSON} {
		o := Dataset{Dir: t.TempDir(), Format: format, Seed: 7, Rows: 1_030, Files: 3, Rate: 50}
		require.NoError(t, WriteDataset("nexmark", o))
		for _, k := range nexmark.Kinds() {
			files, err := filepath.Glob(filepath.Join(o.Dir, k.String(), "*."+format))
			require.NoError(t, err)
			require.Len(t, files, 3)
			read, columns := "read_parquet", ""
			if format == inputNDJSON {
				read = "read_json"
				columns = ", columns := " + jsonColumns(k)
			}
			_, err = p.conn.Exec(t.Context(), fmt.Sprintf("CREATE OR REPLACE TEMP TABLE got AS FROM %s(%s%s)", read,
				duck.QuoteLiteral(filepath.Join(o.Dir, k.String(), "*."+format)), columns))
			require.NoError(t, err)
			n, err := p.compare(t.Context(), "FROM "+k.String())
			require.NoError(t, err)
			require.Positive(t, n)
		}
	}
	require.Error(t, WriteDataset("nexmark", Dataset{Dir: t.TempDir(), Format: "tape"}))
}

func jsonColumns(k nexmark.Kind) string {
	var list []string
	for _, f := range nexmark.Schema(k).Fields() {
		typ := map[arrow.Type]string{arrow.INT64: "BIGINT", arrow.STRING: "VARCHAR", arrow.TIMESTAMP: "TIMESTAMP"}
		list = append(list, duck.QuoteIdent(f.Name)+": '"+typ[f.Type.ID()]+"'")
	}
	return "{" + strings.Join(list, ", ") + "}"
}

// TestFeeds asks that rows are a function of the settings and the step, and keys what they are said to be.
func TestFeeds(t *testing.T) {
	t.Parallel()
	for _, spec := range []feedSpec{
		{Kind: "keys", Seed: 1, Keys: 150_000, Sizes: []int64{10, 20}},
		{Kind: "windows", Seed: 1, Rows: 50, Rate: 10, Total: 180},
		{Kind: "pairs", Seed: 1, Rows: 50, Rate: 10},
		{Kind: "groups", Seed: 1, Keys: 5, Open: 3},
		{Kind: "nexmark", Seed: 1, Rows: 50, Rate: 10, Total: 180},
	} {
		one, err := spec.feed()
		require.NoError(t, err)
		two, err := spec.feed()
		require.NoError(t, err)
		for n := range 4 {
			a, b := one(n), two(n)
			require.NotEmpty(t, a)
			for name, rec := range a {
				require.Equal(t, fmt.Sprint(rec), fmt.Sprint(b[name]), "%s %d", spec.Kind, n)
				rec.Release()
				b[name].Release()
			}
		}
	}
	_, err := feedSpec{Kind: "other"}.feed()
	require.Error(t, err)
	keys := map[int64]bool{}
	spec := feedSpec{Kind: "keys", Seed: 1, Keys: 150_000, Sizes: []int64{1_000}}
	for n := range spec.loads() + 1 {
		rec := spec.keys(n)["rows"]
		for _, k := range int64s(t, rec, 0) {
			keys[k] = true
		}
		rec.Release()
	}
	require.Len(t, keys, 150_000)
}

func int64s(t *testing.T, rec arrow.Record, column int) []int64 {
	t.Helper()
	values, ok := rec.Column(column).(interface{ Int64Values() []int64 })
	require.True(t, ok)
	return values.Int64Values()
}
