package planner

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
)

const day = int64(86_400_000_000)

// timesOf returns times around everything that bounds of windows depend on, and random ones.
func timesOf(r *rand.Rand, g grid) []int64 {
	const years9999 = 253_402_214_400_000_000
	around := []int64{0, g.first(), -g.micros, g.micros, *g.offset, years9999, 100 * 365 * day, -math.MaxInt64, math.MaxInt64}
	var out []int64
	for _, at := range around {
		for _, by := range []int64{-g.micros, -1, 0, 1, g.micros - 1} {
			out = append(out, at+by)
		}
	}
	for range 200 {
		out = append(out, r.Int64N(2*years9999)-years9999, r.Int64N(1<<r.IntN(62)+1), -r.Int64N(1<<r.IntN(62)+1), int64(r.Uint64()))
	}
	return out
}

// TestBoundsAreThoseOfTimeBucket compares the bounds of windows with what time_bucket and intervals give. Near the ends of
// TIMESTAMP, where those may overflow on their way, the bounds must be exact, and fail only where they do not fit.
func TestBoundsAreThoseOfTimeBucket(t *testing.T) {
	t.Parallel()
	conn := openDuck(t)
	r := rand.New(rand.NewPCG(3, 5))
	sizes := []int64{1, 7, 999_983, 10_000_000, 60_000_000, day, 7 * day, 400_000 * day / 3, 1 << 53, 1<<53 + 1}
	for i := range 36 {
		g := grid{col: "ts", origin: epoch, offset: new(int64), micros: sizes[i%len(sizes)]}
		if i >= 20 {
			g.micros = 1 + r.Int64N(1<<r.IntN(54))
		}
		if i%3 > 0 {
			*g.offset = r.Int64N(4*min(g.micros, 1<<50)) - 2*min(g.micros, 1<<50)
			g.origin += fmt.Sprintf(" + INTERVAL '%d microseconds'", *g.offset)
		}
		g.step = fmt.Sprintf("INTERVAL '%d microseconds'", g.micros)
		size, earlier := int64(1), ""
		if i%4 == 3 && g.micros < 1<<50 {
			size, earlier = 5, "w"
		}
		checkBounds(t, conn, g, size, earlier, timesOf(r, g))
	}
}

func checkBounds(t *testing.T, conn *duck.Conn, g grid, steps int64, earlier string, times []int64) {
	t.Helper()
	start := fmt.Sprintf("time_bucket(%s, ts, %s)", g.step, g.origin)
	if earlier != "" {
		start += fmt.Sprintf(" - to_microseconds(w * %d)", g.micros)
	}
	size := fmt.Sprintf("INTERVAL '%d microseconds'", steps*g.micros)
	old := fmt.Sprintf("%s AS window_start, window_start + %s AS window_end", start, size)
	now := g.bounds(size, steps*g.micros, earlier)
	var safe []string
	for _, micros := range times {
		if near := 8 * min(g.micros+day, math.MaxInt64/8); micros > near-math.MaxInt64 && micros < math.MaxInt64-near {
			safe = append(safe, fmt.Sprint(micros))
			continue
		}
		from := fmt.Sprintf(" FROM (SELECT make_timestamp(%d) AS ts, %d AS w)", micros, micros&3)
		got, err := conn.Rows(t.Context(), "SELECT "+now+from)
		if want, failed := conn.Rows(t.Context(), "SELECT "+old+from); failed == nil {
			require.NoError(t, err, "%s of %d", now, micros)
			require.Equal(t, want, got, "%s of %d", now, micros)
			continue
		}
		back := int64(0)
		if earlier != "" {
			back = micros & 3
		}
		if start, end, fit := exactBounds(g, steps, back, micros); fit {
			require.NoError(t, err, "%s of %d", now, micros)
			require.Equal(t, [][]any{{start, end}}, got, "%s of %d", now, micros)
		} else {
			require.Error(t, err, "%s of %d", now, micros)
		}
	}
	rows := "(SELECT make_timestamp(us) AS ts, us & 3 AS w FROM (SELECT unnest([" + strings.Join(safe, ", ") + "]) AS us))"
	got, err := conn.Rows(t.Context(), "SELECT ts, w, a.*, b.* FROM (SELECT *, "+now+" FROM "+rows+") a POSITIONAL JOIN "+
		"(SELECT "+old+" FROM "+rows+") b WHERE a.window_start IS DISTINCT FROM b.window_start OR "+
		"a.window_end IS DISTINCT FROM b.window_end")
	require.NoError(t, err)
	require.Empty(t, got, now)
}

// exactBounds finds the window with numbers of any size, and reports whether the time and both bounds fit TIMESTAMP.
func exactBounds(g grid, steps, back, micros int64) (start, end time.Time, fit bool) {
	at, width := big.NewInt(micros), big.NewInt(g.micros)
	behind := new(big.Int).Sub(at, big.NewInt(*g.offset))
	first := new(big.Int).Sub(at, behind.Mod(behind, width))
	first.Sub(first, new(big.Int).Mul(width, big.NewInt(back)))
	last := new(big.Int).Add(first, new(big.Int).Mul(width, big.NewInt(steps)))
	fit = true
	for _, n := range []*big.Int{at, first, last} {
		fit = fit && n.IsInt64() && n.Int64() >= -9223372022400000000 && n.Int64() < math.MaxInt64
	}
	return time.UnixMicro(first.Int64()).UTC(), time.UnixMicro(last.Int64()).UTC(), fit
}

// TestWindowsOfMostOfTime is about offsets that can not be added to a length.
func TestWindowsOfMostOfTime(t *testing.T) {
	t.Parallel()
	conn := openDuck(t)
	for _, offset := range []int64{40_000_000 * day, -40_000_000 * day} {
		g := grid{col: "ts", step: "INTERVAL '70000000 days'", micros: 70_000_000 * day, offset: &offset,
			origin: fmt.Sprintf("%s + INTERVAL '%d days'", epoch, offset/day)}
		checkBounds(t, conn, g, 1, "", timesOf(rand.New(rand.NewPCG(1, 1)), g))
	}
}

func TestBoundsWithoutAnOffsetAreLeftToTimeBucket(t *testing.T) {
	t.Parallel()
	g := grid{col: "ts", step: "INTERVAL '1 day'", micros: day, origin: epoch}
	require.NotContains(t, g.bounds("INTERVAL '1 day'", day, ""), duck.WindowSQL("ts", day, 0, "0"))
}

func openDuck(t *testing.T) *duck.Conn {
	t.Helper()
	db, err := duck.Open(t.Context(), duck.Options{})
	require.NoError(t, err)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		require.NoError(t, db.Close())
	})
	return conn
}
