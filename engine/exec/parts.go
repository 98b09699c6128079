package exec

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/internal/duck"
)

// partRows is how many rows are worth a statement of their own.
const partRows = 32_768

// lane is one more connection, which computes a part of a batch's rows beside the session's own: of a statement that reads
// lent rows DuckDB uses one thread.
type lane struct {
	conn *duck.Conn
	feed *duck.Feed
}

// splits reports whether a batch may be computed in parts: a row of the result comes of one row, in their order, and nothing
// but lent rows is read.
func (s *Session) splits() bool { return s.again && len(s.plan.Ops) == 0 && len(s.plan.Inputs) == 1 }

// lend lends the rows of a source: many of them in parts, if they may be computed so.
func (r *run) lend(ctx context.Context, src *sourceRun, recs []arrow.Record) error {
	n := 1
	if r.s.splits() {
		n = int(max(1, min(int64(r.s.db.Threads()), src.left/partRows)))
	}
	for len(r.s.lanes) < n-1 {
		if err := r.s.addLane(ctx); err != nil {
			return err
		}
	}
	r.lanes = r.s.lanes[:n-1]
	for i, l := range r.lanes {
		if err := lendRows(l.feed, recs, src.left*int64(i+1)/int64(n), src.left*int64(i+2)/int64(n)); err != nil {
			return err
		}
	}
	return lendRows(r.s.feeds[src.name], recs, 0, src.left/int64(n))
}

// lendRows lends the rows [from, to) of records.
func lendRows(feed *duck.Feed, recs []arrow.Record, from, to int64) error {
	var part []arrow.Record
	defer func() { releaseAll(part) }()
	for _, rec := range recs {
		rows := rec.NumRows()
		if start, end := max(from, 0), min(to, rows); start < end {
			part = append(part, rec.NewSlice(start, end))
		}
		from, to = from-rows, to-rows
	}
	return feed.Lend(part)
}

// addLane opens a lane.
func (s *Session) addLane(ctx context.Context) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect query %q to DuckDB again: %w", s.plan.Query, err)
	}
	l := &lane{conn: conn}
	if l.feed, err = conn.OpenFeed(ctx, s.plan.Lent[0].Feed, s.plan.Lent[0].Columns); err != nil {
		return errors.Join(fmt.Errorf("lend rows of %q: %w", s.plan.Lent[0].Table, err), conn.Close())
	}
	s.lanes = append(s.lanes, l)
	return nil
}

func (l *lane) close() error { return errors.Join(l.feed.Close(context.Background()), l.conn.Close()) }

// inParts runs the SELECT of the result, over all parts at once if the rows were lent so, and returns its rows in order.
func (r *run) inParts(ctx context.Context, sql string, cols []duck.Column) (*duck.Table, error) {
	if len(r.lanes) == 0 {
		return r.query(ctx, nil, sql, cols)
	}
	conns := []*duck.Conn{r.s.conn}
	for _, l := range r.lanes {
		conns = append(conns, l.conn)
	}
	tables := make([]*duck.Table, len(conns))
	group, ctx := errgroup.WithContext(ctx)
	for i, conn := range conns {
		conn.Share(len(conns))
		group.Go(func() (err error) {
			tables[i], err = conn.QueryAgain(ctx, nil, sql, cols)
			return err //nolint:wrapcheck // the caller does
		})
	}
	err := group.Wait()
	r.s.conn.Share(1)
	var all *duck.Table
	for _, t := range tables {
		switch {
		case t == nil:
		case err != nil:
			t.Release()
		case all == nil:
			all = t
		default:
			all.Records = append(all.Records, t.Records...)
		}
	}
	return all, err //nolint:wrapcheck // the caller does
}
