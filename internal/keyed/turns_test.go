package keyed

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

// TestTurns has a call go through rows while a reader wants the lock: it comes in between two rows once it is due, also out of a
// rest of an hour, and a call waits for no reader that is not.
func TestTurns(t *testing.T) {
	t.Parallel()
	for name, rest := range map[string]time.Duration{"waiting": 0, "resting": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, Options{Schema: schemaOf(arrow.PrimitiveTypes.Int64), Keys: 1})
			s.pace(0) // nobody wants the lock
			s.mu.Lock()
			turns, ended := 0, make(chan struct{})
			go func() {
				defer close(ended)
				s.turns.begin(rest)
				turns++
				s.turns.end()
			}()
			for s.turns.due.Load() == nil {
				runtime.Gosched()
			}
			if rest > 0 {
				s.pace(0)
				require.Zero(t, turns)
				now := time.Now()
				s.turns.due.Store(&now)
			}
			s.pace(63)
			require.Zero(t, turns)
			s.pace(64)
			require.Equal(t, 1, turns)
			s.pace(128) // it does not want the lock again
			s.mu.Unlock()
			<-ended
			require.Empty(t, s.turns.wake)
		})
	}
}

// TestFrozenWithinCalls reads what is frozen in small parts, each in the midst of a call of a batch: a store that has nobody beside
// it must answer the same to the same calls, and what is read must be what there was at the Freeze.
func TestFrozenWithinCalls(t *testing.T) {
	t.Parallel()
	text, number := arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64
	for name, c := range map[string]*calls{
		"texts": {schema: schemaOf(number, number, text), time: "c1"},
		"sums":  {schema: schemaOf(text, number), how: []Merge{Sum}},
		"bits":  {schema: schemaOf(number, number), admits: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.rng = rand.New(rand.NewPCG(3, 1))
			c.run(t)
		})
	}
}

// calls are batches over rows of a schema.
type calls struct {
	schema *arrow.Schema
	time   string
	how    []Merge // to Fold by; nil puts rows, and leads with them
	admits bool
	rng    *rand.Rand
}

func (c *calls) run(t *testing.T) {
	const keys, size = 4_000, 600
	o := Options{Schema: c.schema, Keys: 1, Time: c.time}
	s, alone := open(t, o), open(t, o)
	rec := c.rows(keys, func(i int) int64 { return int64(i) })
	for _, s := range []*Store{s, alone} {
		commit(s, func() { require.NoError(t, s.Put(rec)) })
	}
	for round := range 6 {
		want := slices.Sorted(slices.Values(texts(t, all(s))))
		base := round%2 == 0
		alone.Freeze(base).Close()
		r := &interrupting{f: s.Freeze(base), rng: c.rng, ended: make(chan struct{})}
		r.f.most = 256
		go r.read()
		for range 2 {
			recs := []arrow.Record{c.rows(size, func(int) int64 { return c.rng.Int64N(keys + keys/4) }),
				c.rows(size, func(int) int64 { return c.rng.Int64N(keys) })}
			commits := c.rng.IntN(3) > 0
			nobody := func() func() int { return func() int { return 0 } }
			require.Equal(t, c.batch(t, alone, recs, commits, nobody), c.batch(t, s, recs, commits, r.call))
		}
		r.finish()
		if base {
			require.Greater(t, r.within, 5)
			require.Equal(t, want, slices.Sorted(slices.Values(texts(t, r.recs))))
		}
		r.f.Close()
		require.Equal(t, slices.Sorted(slices.Values(texts(t, all(alone)))), slices.Sorted(slices.Values(texts(t, all(s)))))
		checkAccounts(t, s)
	}
}

// interrupting is a reader that never has the lock but by a call that lets it in.
type interrupting struct {
	f      *Frozen
	rng    *rand.Rand
	recs   []arrow.Record
	within int
	calls  int
	ended  chan struct{}
}

func (r *interrupting) read() {
	defer close(r.ended)
	for more := true; more; {
		r.f.s.turns.begin(time.Hour)
		recs := r.f.more()
		r.within++
		r.f.s.turns.end()
		r.recs, more = append(r.recs, recs...), recs != nil
	}
	for rec := range r.f.Rows() {
		r.recs = append(r.recs, rec)
	}
}

// call has the reader want the lock in the call that comes: at once, or each third when it has gone through some rows. It returns what counts,
// after the call, the turns that are missing: the reader that wanted the lock at once must have had it by then.
func (r *interrupting) call() (missing func() int) {
	none := func() int { return 0 }
	due := &r.f.s.turns.due
	for due.Load() == nil {
		select {
		case <-r.ended:
			return none
		default:
			runtime.Gosched()
		}
	}
	before, rest := r.turns(), time.Duration(0)
	if r.calls++; r.calls%3 == 2 {
		rest = time.Duration(r.rng.Int64N(int64(200 * time.Microsecond)))
	}
	now := time.Now().Add(rest)
	due.Store(&now)
	if rest > 0 {
		return none
	}
	return func() int { return max(before+1-r.turns(), 0) }
}

// turns returns how many turns the reader has had.
func (r *interrupting) turns() int {
	r.f.s.mu.Lock()
	defer r.f.s.mu.Unlock()
	return r.within
}

// finish lets the reader come to its end.
func (r *interrupting) finish() {
	within := r.turns()
	for {
		r.call()
		select {
		case <-r.ended:
			r.within = within
			return
		default:
			r.f.s.mu.Lock()
			r.f.s.pace(0)
			r.f.s.mu.Unlock()
		}
	}
}

// rows have these keys, and values by chance.
func (c *calls) rows(n int, key func(int) int64) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, c.schema)
	defer b.Release()
	for i := range n {
		for at, f := range b.Fields() {
			value := c.rng.Int64N(50)
			if at == 0 {
				value = key(i)
			}
			switch f := f.(type) {
			case *array.Int64Builder:
				f.Append(value)
			case *array.StringBuilder:
				f.Append(fmt.Sprintf("%0*d", 3+value%20, value))
			}
		}
	}
	return b.NewRecord()
}

// batch makes the calls of a batch, and returns what they gave, of rows a checksum.
func (c *calls) batch(t *testing.T, s *Store, recs []arrow.Record, commits bool, before func() func() int) []string {
	t.Helper()
	var out []string
	call := func(made func() (any, error)) {
		missing := before()
		what, err := made()
		require.NoError(t, err)
		require.Zero(t, missing())
		if recs, ok := what.([]arrow.Record); ok {
			rows := texts(t, recs)
			what = fmt.Sprintf("%d rows %08x", len(rows), crc32.ChecksumIEEE([]byte(fmt.Sprint(rows))))
		}
		out = append(out, fmt.Sprint(what))
	}
	s.Begin()
	switch {
	case c.admits:
		call(func() (any, error) {
			rec, _, err := s.Admit(recs[0])
			return []arrow.Record{rec}, err
		})
	case c.how != nil:
		call(func() (any, error) { return s.Fold(recs[0], c.how) })
	default:
		call(func() (any, error) { return nil, s.Put(recs[0]) })
		call(func() (any, error) { return s.Expire(2), nil })
		call(func() (any, error) { return s.Lead(recs[1], []Order{{Column: 2, Descending: true}, {Column: 1}}) })
	}
	call(func() (any, error) { return s.Touched(), nil })
	call(func() (any, error) { return s.Lookup(recs[1]) })
	call(func() (any, error) { return s.Delete(recs[1].NewSlice(0, recs[1].NumRows()/3)) })
	if before(); commits {
		s.Commit()
		return out
	}
	s.Rollback()
	return out
}
