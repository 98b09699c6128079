package exec

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
)

// TestUnheard runs batches of every kind of shape in two sessions, one of which gives no result of some of them, and asks for
// the same counts, the same state, and the same result where both give one.
func TestUnheard(t *testing.T) {
	f := newFixtureOf(t, 1)
	other, err := duck.Open(t.Context(), duck.Options{Sealed: true, Threads: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	seen := map[string]int{}
	for i, sh := range shapes(t) {
		for _, mode := range modesOf(sh.modes) {
			p, err := f.plan(mode, sh.body)
			require.NoError(t, err)
			if seen[kindOf(p)]++; !p.Stateful() || seen[kindOf(p)] > 2 { // others of the kind do the same
				continue
			}
			t.Run(fmt.Sprintf("%02d/%s", i, mode), func(t *testing.T) {
				f := &fixture{t: t, db: f.db, app: f.app}
				f.sameUnheard(f.replay(p), f.replay(p), other, rand.New(rand.NewPCG(8, uint64(i))))
			})
		}
	}
}

func (f *fixture) sameUnheard(heard, unheard *replay, other *duck.DB, rnd *rand.Rand) {
	for n := range 5 {
		inputs := map[string][]row{}
		for _, s := range heard.p.Sources {
			inputs[s.Name] = randomRows(rnd, 12)
		}
		heard.step(inputs, false)
		unheard.unheard = n%3 != 2
		unheard.step(inputs, false)
		require.Equal(f.t, heard.out.Sources, unheard.out.Sources)
		require.Equal(f.t, heard.out.State, unheard.out.State)
		if unheard.unheard {
			require.Empty(f.t, unheard.given)
			continue
		}
		require.ElementsMatch(f.t, heard.given, unheard.given)
	}
	one, two := f.stateStore(), f.stateStore()
	f.keep(heard, one, true)
	f.keep(unheard, two, true)
	want, got := f.loaded(one, other), f.loaded(two, other)
	for _, table := range heard.p.StateTables() {
		f.sameTable(heard, want, got, table)
	}
}
