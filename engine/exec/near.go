package exec

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/keyed"
	"github.com/tidemill/tidemill/planner"
)

// nearShare is how many rows that are kept cost as much to read through as one that is found by its keys. Rows of the batch cost
// less, until it is known what they find.
const (
	nearShare = 1 << 13
	nearCame  = 8
)

// nearPairs is how many rows the SQL of a Near may join at most, since it joins those of earlier batches with one another too.
const nearPairs = 1 << 16

// near returns the common table expressions of a Near, or none where the batch reads all that is kept, and whether they are for the
// Near's SQL, or for the one that reads all.
func (r *run) near(ctx context.Context, n *planner.Near) (with []string, own bool, err error) {
	if n == nil {
		return nil, false, nil
	}
	kept := int64(0)
	for i := range n.Tables {
		kept += r.s.table(n.Tables[i].Name).rows
	}
	came := int64(0)
	for _, src := range r.sources {
		came += src.left
	}
	if came*(r.s.share/nearCame) > kept {
		return nil, false, nil
	}
	w := &nearWalk{n: n, most: int(kept / max(r.s.share, 1))}
	for i := range n.Tables {
		t, fresh, err := r.indexed(ctx, &n.Tables[i])
		if err != nil {
			r.s.forgetPositions(n.Tables[i].Name)
			return nil, false, fmt.Errorf("find rows of %s by their keys: %w", n.Tables[i].Name, err)
		}
		if int64(t.Len()+len(fresh[0])) != r.s.table(n.Tables[i].Name).rows {
			r.s.forgetPositions(n.Tables[i].Name) // they are of another state
			return nil, false, nil
		}
		w.tables, w.fresh, w.found = append(w.tables, t), append(w.fresh, fresh), append(w.found, map[uint32]bool{})
	}
	if !w.all() {
		return nil, false, nil
	}
	with = make([]string, len(n.Tables))
	for i := range n.Tables {
		with[i] = n.Tables[i].WithSQL(w.positions(i))
	}
	return with, w.pairs() <= r.s.pairs, nil
}

// keyHashes are those of rows, by key.
type keyHashes [][]uint64

// indexed returns where the rows of a table are that were there before the batch, and the hashes of the batch's rows.
func (r *run) indexed(ctx context.Context, t *planner.NearTable) (*keyed.Positions, keyHashes, error) {
	at := r.s.kept[t.Name]
	if at == nil {
		at = &positions{Positions: keyed.NewPositions(len(t.Keys), r.s.memory)}
		r.s.kept[t.Name] = at
	}
	first := r.c.Batch << positionBits
	sql, cols := t.HashesSQL(strconv.FormatInt(at.next, 10))
	rows, err := r.s.conn.Query(ctx, nil, sql, cols)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Release()
	fresh, old, where := make(keyHashes, len(t.Keys)), make(keyHashes, len(t.Keys)), []int64(nil)
	for _, rec := range rows.Records {
		positions := rec.Column(0).(*array.Int64).Int64Values()
		for k := range t.Keys {
			for i, hash := range rec.Column(k + 1).(*array.Uint64).Uint64Values() {
				if positions[i] < first {
					old[k] = append(old[k], hash)
				} else {
					fresh[k] = append(fresh[k], hash)
				}
			}
		}
		for _, position := range positions {
			if position < first {
				where = append(where, position)
			}
		}
	}
	if err := at.Add(where, old); err != nil {
		return nil, nil, err
	}
	at.next = first
	return at.Positions, fresh, nil
}

// positions are those of a table's rows below the first position of the latest batch that looked for some.
type positions struct {
	*keyed.Positions
	next int64
}

func (s *Session) forgetPositions(table string) {
	if at := s.kept[table]; at != nil {
		at.Close()
	}
	delete(s.kept, table)
}

// nearWalk finds the rows that can be joined with a batch's.
type nearWalk struct {
	n      *planner.Near
	most   int // rows to find and look at
	tables []*keyed.Positions
	fresh  []keyHashes
	found  []map[uint32]bool
}

// all goes from the batch's rows of each table to all others. It reports whether that was worth it.
func (w *nearWalk) all() bool {
	for from := range w.tables {
		for l := range w.n.Links {
			key, to, _ := w.n.Links[l].From(from)
			if key >= 0 && !w.follow(l, to, w.fresh[from][key]) {
				return false
			}
		}
	}
	return true
}

// follow goes along a link to the rows of a table, by the hashes of the rows that it comes from, and on from there. A row of the
// batch is no way: those behind it are found from there.
func (w *nearWalk) follow(link, to int, hashes []uint64) bool {
	key, _, _ := w.n.Links[link].From(to)
	rows := map[uint32]bool{}
	looked := map[uint64]bool{}
	for _, hash := range hashes {
		if looked[hash] {
			continue
		}
		looked[hash] = true
		found, ok := w.tables[to].Find(key, hash, w.most)
		if !ok || w.most-len(found) < 0 {
			return false
		}
		w.most -= len(found)
		for _, row := range found {
			rows[row], w.found[to][row] = true, true
		}
	}
	for l := range w.n.Links {
		next, on, _ := w.n.Links[l].From(to)
		if l == link || next < 0 || len(rows) == 0 {
			continue
		}
		var hashes []uint64
		for row := range rows {
			hashes = append(hashes, w.tables[to].Hash(next, row))
		}
		if !w.follow(l, on, hashes) {
			return false
		}
	}
	return true
}

// positions returns those of the rows that were found of a table, ascending.
func (w *nearWalk) positions(table int) []string {
	at := make([]int64, 0, len(w.found[table]))
	for row := range w.found[table] {
		at = append(at, w.tables[table].At(row))
	}
	slices.Sort(at)
	texts := make([]string, len(at))
	for i := range at {
		texts[i] = strconv.FormatInt(at[i], 10)
	}
	return texts
}

// pairs is how many rows the tables that were found have at most when they are joined.
func (w *nearWalk) pairs() int64 {
	n := int64(0)
	for _, found := range w.found {
		n = max(n, int64(len(found)))
	}
	for _, l := range w.n.Links {
		most := int64(1)
		for end, table := range l.Tables {
			times := map[uint64]int64{}
			for row := range w.found[table] {
				hash := w.tables[table].Hash(l.Keys[end], row)
				times[hash]++
				most = max(most, times[hash])
			}
		}
		n = min(n*most, math.MaxInt32)
	}
	return n
}

// fewRows reads the rows of the result by the plan's Near, if the batch has few. It returns nil if it has not.
func (r *run) fewRows(ctx context.Context, sql string, cols []duck.Column) (*duck.Table, error) {
	with, own, err := r.near(ctx, r.s.plan.Near)
	if with == nil || err != nil {
		return nil, err
	}
	if own {
		sql = duck.WithSQL(r.with(r.s.plan.With), r.s.plan.Near.SQL)
	}
	return r.s.conn.Query(ctx, with, sql, cols)
}
