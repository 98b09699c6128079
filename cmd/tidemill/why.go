package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/internal/rowenc"
)

// closingsMax is how many of the next closings of each table are shown.
const closingsMax = 5

func (e *env) whyCommand() *cobra.Command {
	c := &cobra.Command{Use: "why QUERY",
		Short: "say why a query has not emitted yet: its watermark, what holds it back, and what waits for it",
		Long: "Reads the log and the newest state version, of a running query too, and changes nothing. A source's\n" +
			"watermark is its greatest event time less the declared delay; the query's is the least of its sources'\n" +
			"(watermark_policy = 'min') or the greatest ('max'). A window leaves when that has come to its end.",
		Args: exactArgs("QUERY")}
	dataDir, form := e.reading(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		chosen, err := form()
		if err != nil {
			return err
		}
		ctx, done := e.cancelled(c.Context())
		defer done()
		return aborted(ctx, e.why(ctx, *dataDir, args[0], chosen))
	}
	return c
}

// whyReport is what the command prints; as JSON its names are stable.
type whyReport struct {
	Query     string       `json:"query"`
	State     string       `json:"state"`
	Mode      *string      `json:"mode"`
	Why       string       `json:"why"`
	Hint      string       `json:"hint,omitempty"`
	Batch     *int64       `json:"batch"` // the newest committed one
	BatchTime *string      `json:"batch_time"`
	Pending   *int64       `json:"unfinished_batch"`
	Version   *int64       `json:"state_version"` // the batch that the tables are as of
	Policy    *string      `json:"watermark_policy"`
	Watermark *string      `json:"watermark"`
	Since     *string      `json:"watermark_since"` // the time of the batch that moved it last
	HeldBy    *string      `json:"held_by"`
	HeldFor   *float64     `json:"held_by_seconds"` // how far the source is from the next one
	Late      int64        `json:"late"`
	Sources   []*whySource `json:"sources"`
	Tables    []*whyTable  `json:"tables"`
}

// whySource is what one source says of the time.
type whySource struct {
	Name      string   `json:"source"`
	Watermark *string  `json:"watermark"`
	Delay     *float64 `json:"delay_seconds"`
	Since     *string  `json:"since"` // the time of the batch that moved it last
	Idle      bool     `json:"idle"`
	Late      int64    `json:"late"` // in the batches that the log still has
	Role      string   `json:"role"`
	at        *int64
	timed     bool
}

// whyTable is one state table and when its rows are let go.
type whyTable struct {
	Name     string       `json:"table"`
	Kind     string       `json:"kind"`
	Rows     int64        `json:"rows"`
	Due      int64        `json:"due"` // let go by the next batch
	Waiting  int64        `json:"waiting"`
	Emits    bool         `json:"emits"` // they come out then; rows that do not are not counted
	Closings []whyClosing `json:"next"`
	waits    string       // which rows come out when they are let go
	logical  bool
	timed    bool
}

// whyClosing is one time at which rows are let go.
type whyClosing struct {
	At    string   `json:"at"`
	Rows  int64    `json:"rows"`
	Short *float64 `json:"short_seconds"` // how far the watermark is from it; null while there is none
	at    int64
}

func (e *env) why(ctx context.Context, dataDir, query, form string) (err error) {
	st, err := e.openStored(ctx, dataDir, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	r, err := st.why(ctx)
	if err != nil {
		return err
	}
	if st.noPlan != nil {
		st.note(e)
	}
	return r.print(e.stdout, form)
}

// why gathers the facts, and then says what follows from them.
func (st *stored) why(ctx context.Context) (*whyReport, error) {
	s := st.sum
	r := &whyReport{Query: s.Meta.Name, State: st.state, Sources: []*whySource{}, Tables: []*whyTable{}}
	if s.Pending != nil {
		r.Pending = &s.Pending.Batch
	}
	if st.plan != nil {
		mode, policy := st.plan.Mode.String(), string(st.plan.Policy)
		r.Mode, r.Policy = &mode, &policy
	}
	if s.Last != nil {
		at := stamp(s.LastIntent.Time)
		r.Batch, r.BatchTime, r.Late = &s.Last.Batch, &at, s.Last.Totals.Late
		r.Watermark = stampOf(s.Last.Watermark)
		if s.Last.Watermark != nil {
			r.Since = st.since(func(i int) *int64 { return s.Batches[i].Commit.Watermark })
		}
	}
	st.whySources(r)
	if err := st.whyTables(ctx, r); err != nil {
		return nil, err
	}
	st.verdict(r)
	return r, nil
}

// stampOf writes microseconds since 1970 as a time.
func stampOf(us *int64) *string {
	if us == nil {
		return nil
	}
	at := stamp(time.UnixMicro(*us))
	return &at
}

func secondsOf(us int64) *float64 {
	s := float64(us) / 1e6
	return &s
}

// since returns the time of the oldest batch from which on a value has been what it is now; nil if that is before all
// that the log still has.
func (st *stored) since(value func(i int) *int64) *string {
	var now *int64
	last := -1
	for i := len(st.sum.Batches) - 1; i >= 0; i-- {
		if st.sum.Batches[i].Commit == nil {
			continue
		}
		v := value(i)
		if last < 0 {
			now = v
		}
		if now == nil {
			return nil
		}
		if v == nil || *v != *now {
			at := stamp(st.sum.Batches[last].Intent.Time)
			return &at
		}
		last = i
	}
	if last < 0 || st.sum.Batches[last].Intent.Batch > 0 {
		return nil
	}
	at := stamp(st.sum.Batches[last].Intent.Time)
	return &at
}

// whySources lists the sources and finds the one that the query's watermark goes by.
func (st *stored) whySources(r *whyReport) {
	s := st.sum
	names := sortedNames(s.Meta.Start)
	for _, name := range names {
		src := &whySource{Name: name, timed: true}
		if st.plan != nil {
			src.timed = false
			for _, def := range st.plan.Sources {
				if def.Name == name && def.Watermark != nil {
					src.timed, src.Delay = true, secondsOf(def.Watermark.Delay.Microseconds())
				}
			}
		}
		if s.Last != nil {
			if at, known := s.Last.Watermarks[name]; known {
				src.at, src.Watermark = &at, stampOf(&at)
				src.Since = st.since(func(i int) *int64 {
					if v, ok := s.Batches[i].Commit.Watermarks[name]; ok {
						return &v
					}
					return nil
				})
			}
			for _, idle := range s.LastIntent.Idle {
				src.Idle = src.Idle || idle == name
			}
		}
		for _, b := range s.Batches {
			if b.Commit != nil {
				src.Late += b.Commit.Sources[name].Late
			}
		}
		r.Sources = append(r.Sources, src)
	}
	r.roles()
}

// roles says what each source does to the query's watermark: under min the least holds it back, under max the greatest
// leads it.
func (r *whyReport) roles() {
	greatest := r.Policy != nil && *r.Policy == "max"
	var first, next *whySource
	for _, s := range r.Sources {
		switch {
		case !s.timed:
			s.Role = "has no watermark"
			continue
		case s.Idle:
			s.Role = "idle: does not count"
			continue
		case s.at == nil:
			s.Role = "has had no event time yet"
			if !greatest && (first == nil || first.at != nil) {
				first, next = s, first
			}
			continue
		}
		switch {
		case first == nil || first.at != nil && (*s.at < *first.at) != greatest && *s.at != *first.at:
			first, next = s, first
		case next == nil || next.at != nil && (*s.at < *next.at) != greatest && *s.at != *next.at:
			next = s
		}
	}
	if first == nil {
		return
	}
	r.HeldBy = &first.Name
	if r.timed() == 1 {
		if first.at != nil {
			first.Role = "gives the watermark"
		}
		return
	}
	verb := "holds the watermark back"
	if greatest {
		verb = "leads"
	}
	if first.at == nil {
		first.Role += ", " + verb
		return
	}
	first.Role = verb
	if next == nil || next.at == nil {
		return
	}
	gap := *next.at - *first.at
	if greatest {
		gap = -gap
	}
	r.HeldFor = secondsOf(gap)
	side := "behind"
	switch {
	case gap == 0:
		first.Role += ", as does " + next.Name
		return
	case greatest:
		side = "ahead of"
	}
	first.Role += fmt.Sprintf(": %s %s %s", span(gap), side, next.Name)
}

// timed counts the sources that declare a watermark.
func (r *whyReport) timed() int {
	n := 0
	for _, s := range r.Sources {
		if s.timed {
			n++
		}
	}
	return n
}

// span writes a length of event time.
func span(us int64) string { return (time.Duration(us) * time.Microsecond).String() }

// whyTables counts what waits in the state version. What the log has let go since is left out.
func (st *stored) whyTables(ctx context.Context, r *whyReport) error {
	if st.conn == nil {
		return nil
	}
	r.Version = &st.batch
	slices.SortStableFunc(st.tables, func(a, b shownTable) int { // what users count comes first
		return cmp.Compare(rank(a.Logical), rank(b.Logical))
	})
	for i := range st.tables {
		t := &st.tables[i]
		w := &whyTable{Name: t.Name, Kind: t.Kind, Rows: t.rows, logical: t.Logical, timed: t.Closes != "", waits: t.Waits, Emits: t.Waits != "",
			Closings: []whyClosing{}}
		r.Tables = append(r.Tables, w)
		if !w.timed {
			continue
		}
		if err := st.closings(ctx, t.Name, t.Closes, w); err != nil {
			return fmt.Errorf("look at state table %s: %w", t.Name, err)
		}
	}
	return nil
}

func rank(first bool) int {
	if first {
		return 0
	}
	return 1
}

// closings finds the next times at which rows of a table are let go.
func (st *stored) closings(ctx context.Context, table, closes string, w *whyTable) error {
	freed, watermark := "", st.sum.Last.Watermark
	if by := st.sum.LastIntent.Watermark; by != nil {
		freed = fmt.Sprintf(" WHERE at > %d", *by)
	}
	due := "false"
	if watermark != nil {
		due = fmt.Sprintf("at <= %d", *watermark)
	}
	from := "(SELECT epoch_us(" + closes + ") AS at FROM " + table + ")" + freed
	if w.Emits {
		from = "(SELECT epoch_us(" + closes + ") AS at FROM " + table + " WHERE " + w.waits + ")" + freed
	}
	rows, err := st.conn.Rows(ctx, "SELECT count(*) FILTER (WHERE "+due+"), count(*) FROM "+from)
	if err != nil {
		return err //nolint:wrapcheck // whyTables wraps it
	}
	all, _ := rows[0][1].(int64)
	w.Due, _ = rows[0][0].(int64)
	w.Waiting = all - w.Due
	rows, err = st.conn.Rows(ctx, fmt.Sprintf("SELECT at, count(*) FROM %s GROUP BY 1 ORDER BY 1 LIMIT %d", from,
		closingsMax))
	if err != nil {
		return err //nolint:wrapcheck // whyTables wraps it
	}
	for _, row := range rows {
		c := whyClosing{}
		c.at, _ = row[0].(int64)
		c.Rows, _ = row[1].(int64)
		c.At = stamp(time.UnixMicro(c.at))
		if watermark != nil {
			c.Short = secondsOf(max(0, c.at-*watermark))
		}
		w.Closings = append(w.Closings, c)
	}
	return nil
}

// print writes the report in one form.
func (r *whyReport) print(w io.Writer, form string) error {
	var err error
	switch form {
	case "json", "jsonl":
		enc := json.NewEncoder(w)
		if form == "json" {
			enc.SetIndent("", "  ")
		}
		err = enc.Encode(r)
	case "csv":
		return r.flat().print(w, form)
	default:
		_, err = io.WriteString(w, r.text())
	}
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// flat is the report as one list.
func (r *whyReport) flat() *listing {
	l := &listing{columns: []string{"kind", "name", "time", "rows", "seconds", "note"}}
	deref := func(s *string) any {
		if s == nil {
			return nil
		}
		return *s
	}
	number := func(f *float64) any {
		if f == nil {
			return nil
		}
		return *f
	}
	l.add("query", r.Query, deref(r.Watermark), nil, nil, r.Why)
	for _, s := range r.Sources {
		l.add("source", s.Name, deref(s.Watermark), nil, number(s.Delay), s.Role)
	}
	for _, t := range r.Tables {
		l.add("table", t.Name, nil, t.Rows, nil, t.Kind)
		for _, c := range t.Closings {
			l.add("closing", t.Name, c.At, c.Rows, number(c.Short), nil)
		}
	}
	return l
}

// text is the report for people.
func (r *whyReport) text() string {
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "%-11s%s\n", name, rowenc.Plain(value)) }
	line("query", r.Query+", "+r.about())
	line("why", r.Why)
	if r.Hint != "" {
		line("hint", r.Hint)
	}
	if r.Batch != nil {
		line("as of", fmt.Sprintf("batch %d at %s%s", *r.Batch, *r.BatchTime, r.asOf()))
	}
	if r.Pending != nil {
		line("unfinished", fmt.Sprintf("batch %d", *r.Pending))
	}
	line("watermark", or(r.Watermark, "not known")+r.moved())
	line("late rows", count(r.Late))
	b.WriteString("\n" + r.sourceList().table())
	for _, t := range r.Tables {
		b.WriteString("\n" + t.text())
	}
	return b.String()
}

func or(s *string, without string) string {
	if s == nil {
		return without
	}
	return *s
}

func (r *whyReport) about() string {
	if r.Mode == nil {
		return r.State
	}
	return r.State + ", output mode " + *r.Mode + ", watermark policy " + *r.Policy
}

func (r *whyReport) asOf() string {
	if r.Version == nil || *r.Version == *r.Batch {
		return ""
	}
	return fmt.Sprintf("; the state is as of batch %d", *r.Version)
}

func (r *whyReport) moved() string {
	switch {
	case r.Watermark == nil:
		return ""
	case r.Since == nil:
		return ", where it has been for as long as the log goes back"
	}
	return ", where it has been since " + *r.Since
}

func (r *whyReport) sourceList() *listing {
	l := &listing{columns: []string{"source", "watermark", "delay", "there_since", "role"}}
	for _, s := range r.Sources {
		delay := ""
		if s.Delay != nil {
			delay = span(int64(*s.Delay * 1e6))
		}
		l.add(s.Name, or(s.Watermark, ""), delay, or(s.Since, ""), s.Role)
	}
	return l
}

// text shows the times of rows that come out or that users count; what is kept behind them has a line.
func (t *whyTable) text() string {
	head := fmt.Sprintf("%s (%s): %s", strings.ReplaceAll(t.Kind, "_", " "), t.Name, plural(t.Rows, "row"))
	if t.Kind == "" {
		head = fmt.Sprintf("%s: %s", t.Name, plural(t.Rows, "row"))
	}
	switch {
	case !t.timed && t.logical:
		return head + ", which no watermark frees\n"
	case t.timed && len(t.Closings) == 0 && t.Rows > 0 && t.Emits:
		return head + ", none of which waits\n"
	case len(t.Closings) == 0, !t.timed:
		return head + "\n"
	case !t.logical:
		return head + ", the first freed at " + t.Closings[0].At + "\n"
	}
	l := &listing{columns: []string{"freed_at", "short_by", "rows"}, right: set("short_by", "rows")}
	var shown int64
	for _, c := range t.Closings {
		short := "unknown"
		switch {
		case c.Short != nil && *c.Short == 0:
			short = "due"
		case c.Short != nil:
			short = span(int64(*c.Short * 1e6))
		}
		l.add(c.At, short, count(c.Rows))
		shown += c.Rows
	}
	out := head + "\n" + l.table()
	if rest := t.Due + t.Waiting - shown; rest > 0 {
		out += fmt.Sprintf("and %s later\n", plural(rest, "row"))
	}
	return out
}
