package exec

import (
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

// TestGatheredRowsAreInOrder reads results by positions and by one statement: the same rows in the same order, texts with NULLs
// and columns that stand there twice among them.
func TestGatheredRowsAreInOrder(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, "SELECT a.k, b.f, a.v + 0 AS n, b.k AS bk FROM src a JOIN more b ON a.v % 9 = b.v % 9")
	require.NoError(t, err)
	require.Nil(t, p.Gather, "an expression")
	p, err = f.plan(stream.Append, "SELECT a.k, b.f, c.k AS ck, a.k AS again, c.ts, b.v FROM src a JOIN more b ON a.v % 9 = b.v % 9 "+
		"JOIN other c ON c.v % 9 = b.v % 9")
	require.NoError(t, err)
	require.NotNil(t, p.Gather)
	direct := &fixture{t: t, db: f.db, app: f.app, direct: true}
	by, one := f.replay(p), direct.replay(p)
	rnd := rand.New(rand.NewPCG(7, 7))
	for range 3 {
		inputs := map[string][]row{"src": randomRows(rnd, 30), "more": randomRows(rnd, 30), "other": randomRows(rnd, 30)}
		by.step(inputs, false)
		one.step(inputs, false)
		require.Greater(t, len(one.given), 100)
		require.Equal(t, one.given, by.given)
	}
}

// TestJoinsFailWithTheirRows has conditions of a lower join that two rows make fail: in the batch in which the later of them
// comes, which can leave it out, and not in each batch with a row of the upper one.
func TestJoinsFailWithTheirRows(t *testing.T) {
	f := newFixture(t)
	some, none := record([]row{{k: "x", v: 1, f: 1.0, ts: 20}}), record(nil)
	defer some.Release()
	defer none.Release()
	p, err := f.plan(stream.Append, "SELECT a.k FROM src b JOIN more a ON a.k = b.k JOIN other c ON c.v = b.v AND (a.k || c.k)::INTEGER > 0")
	require.NoError(t, err)
	require.Nil(t, p.Gather, "which would compare a and c where there is no b")
	for on, fails := range map[string]bool{"a.k = b.k": false, "a.v % 3 = b.v % 3 AND (a.v < b.w OR a.v >= b.w)": false,
		"a.v = b.v AND (a.k || b.k)::INTEGER > 0": true, "a.v = b.v AND a.v + 2147483647 > b.v": true} {
		p, err = f.plan(stream.Append, "SELECT a.k, c.v FROM src b JOIN more a ON "+on+" JOIN other c ON c.v = a.v")
		require.NoError(t, err)
		require.Equal(t, !fails, p.Gather != nil, on)
		_, err = f.open(p).Run(t.Context(), Call{Inputs: map[string]Input{"src": {Records: []arrow.Record{some}},
			"more": {Records: []arrow.Record{some}}, "other": {Records: []arrow.Record{none}}}})
		require.Equal(t, fails, err != nil, on)
	}
}
