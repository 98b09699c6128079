package benchmarks

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

// TestPlain asks that a row too few, too many or changed is found, and that DOUBLEs may differ in their
// last bits.
func TestPlain(t *testing.T) {
	t.Parallel()
	p, err := openPlain(t.Context(), t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.close()) })
	const want = "SELECT i AS a, (i + 1) / 3 AS b FROM range(5) t(i)"
	for _, c := range []struct{ got, fault string }{
		{want, ""},
		{"SELECT i AS a, (i + 1) / 3 + 1e-15 AS b FROM range(5) t(i)", ""},
		{"SELECT i AS a, (i + 1) / 3 AS b FROM range(4) t(i)", "1 are missing and 0 are too many"},
		{"SELECT i AS a, (i + 1) / 3 AS b FROM range(6) t(i)", "0 are missing and 1 are too many"},
		{"SELECT i AS a, (i + 1) / 3 + 1e-3 AS b FROM range(5) t(i)", "5 are missing (-), 5 are too many (+)"},
	} {
		_, err := p.conn.Exec(t.Context(), "CREATE OR REPLACE TEMP TABLE got AS "+c.got)
		require.NoError(t, err)
		n, err := p.compare(t.Context(), want)
		if c.fault == "" {
			require.NoError(t, err)
			require.Equal(t, int64(5), n)
			continue
		}
		var d *differs
		require.ErrorAs(t, err, &d)
		require.ErrorContains(t, err, c.fault)
	}
	_, err = p.compare(t.Context(), "SELECT 1 AS a, 1.0 AS b LIMIT 0")
	require.ErrorContains(t, err, "nothing to compare")
}

// TestKept delivers rows with and without ops and asks for what a keyed table would hold.
func TestKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sink")
	p, err := openPlain(t.Context(), t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.close()) })
	s := &keptSink{dir: dir}
	require.NoError(t, s.Open(t.Context(), stream.Owner{}))
	for _, sql := range []string{"i AS k, i AS v FROM range(4) t(i)",
		"1::BIGINT AS k, 10::BIGINT AS v, 'delete' AS __op",
		"2::BIGINT AS k, 20::BIGINT AS v, 'upsert' AS __op", "3::BIGINT AS k, 30::BIGINT AS v"} {
		rows, err := p.conn.Select(t.Context(), "SELECT "+sql)
		require.NoError(t, err)
		require.NoError(t, s.Write(t.Context(), stream.Delivery{Result: stream.Batch{Records: rows.Records}}))
		rows.Release()
	}
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.NoError(t, p.result(t.Context(), dir, []string{"k"}))
	n, err := p.compare(t.Context(), "FROM (VALUES (0, 0), (2, 20), (3, 30))")
	require.NoError(t, err)
	require.Equal(t, int64(3), n)
	require.NoError(t, p.result(t.Context(), dir, nil))
	all, err := p.counts(t.Context(), "SELECT count(*) FROM got")
	require.NoError(t, err)
	require.Equal(t, []int64{7}, all)
	require.ErrorContains(t, p.result(t.Context(), t.TempDir(), nil), "given nothing")
}
