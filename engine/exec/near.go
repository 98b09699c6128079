package exec

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/tidemill/tidemill/internal/keyed"
	"github.com/tidemill/tidemill/planner"
)

// nearShare is how many rows that are kept cost as much to read through as one that is found by its keys. Rows of the batch cost
// less, until it is known what they find.
const (
	nearShare = 1 << 13
	nearCame  = 8
)

// near returns the common table expressions of a Near, or none where the batch reads all that is kept.
func (r *run) near(ctx context.Context, n *planner.Near) (with []string, err error) {
	if n == nil || r.s.crowded {
		return nil, nil
	}
	kept := int64(0)
	for i := range n.Tables {
		kept += r.s.table(n.Tables[i].Name).rows
	}
	w := &nearWalk{n: n, most: int(kept / max(r.s.share, 1))}
	if w.most == 0 || r.left()*(r.s.share/nearCame) > kept {
		return nil, nil
	}
	for i := range n.Tables {
		table := n.Tables[i].Name
		t, fresh, err := r.indexed(ctx, &n.Tables[i])
		if err != nil {
			return nil, fmt.Errorf("find rows of %s by their keys: %w", table, err)
		}
		if r.s.crowded {
			return nil, nil
		}
		if int64(t.Len()+len(fresh[0])) != r.s.table(table).rows {
			r.s.forgetPositions(table) // they are of another state
			return nil, nil
		}
		w.tables, w.fresh, w.found = append(w.tables, t), append(w.fresh, fresh), append(w.found, map[uint32]bool{})
	}
	if !w.all() {
		return nil, nil
	}
	for i := range n.Tables {
		with = append(with, n.Tables[i].WithSQL(w.positions(i)))
	}
	return with, nil
}

// keyHashes are those of rows, by key.
type keyHashes [][]uint64

// indexed returns where the rows of a table are that were there before the batch, and the hashes of the batch's rows. Where there is
// no room for the former, nobody needs it: the session is crowded from then on.
func (r *run) indexed(ctx context.Context, t *planner.NearTable) (at *positions, fresh keyHashes, err error) {
	if at = r.s.kept[t.Name]; at == nil {
		at = &positions{Positions: keyed.NewPositions(len(t.Keys), r.s.memory)}
		r.s.kept[t.Name] = at
	}
	sql, cols := t.HashesSQL(strconv.FormatInt(at.next, 10))
	rows, err := r.s.conn.Query(ctx, nil, sql, cols)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Release()
	first := r.c.Batch << positionBits
	fresh = make(keyHashes, len(t.Keys))
	for _, rec := range rows.Records {
		where, old := []int64(nil), make(keyHashes, len(t.Keys))
		for i, position := range rec.Column(0).(*array.Int64).Int64Values() {
			to := fresh
			if position < first {
				to, where = old, append(where, position)
			}
			for k := range to {
				to[k] = append(to[k], rec.Column(k+1).(*array.Uint64).Value(i))
			}
		}
		if at.Add(where, old) != nil {
			r.s.crowded = true
			r.s.forgetAllPositions()
			return nil, nil, nil
		}
	}
	at.next = first
	return at, fresh, nil
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

func (s *Session) forgetAllPositions() {
	for table := range s.kept {
		s.forgetPositions(table)
	}
}

// nearWalk finds the rows that can be joined with a batch's.
type nearWalk struct {
	n      *planner.Near
	most   int // rows to find and look at
	tables []*positions
	fresh  []keyHashes
	found  []map[uint32]bool
}

// all goes from the batch's rows of each table to all others. It reports whether that was worth it.
func (w *nearWalk) all() bool {
	for from := range w.tables {
		for l := range w.n.Links {
			key, to := w.n.Links[l].From(from)
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
	key, _ := w.n.Links[link].From(to)
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
		next, on := w.n.Links[l].From(to)
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
