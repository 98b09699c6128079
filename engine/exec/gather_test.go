package exec

import (
	"math/rand/v2"
	"testing"

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
