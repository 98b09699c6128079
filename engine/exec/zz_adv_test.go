//go:build adv

package exec

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

var advCols = []string{"k VARCHAR", "i INTEGER", "l BIGINT", "d DECIMAL(10,2)", "f DOUBLE", "g FLOAT", "b BOOLEAN",
	"ts TIMESTAMP", "dt DATE", "li INTEGER[]", "st STRUCT(a INTEGER, b VARCHAR)", "m MAP(VARCHAR, INTEGER)",
	"iv INTERVAL", "h HUGEINT", "tm TIME", "bl BLOB", "size INTEGER", "Mixed INTEGER"}

// rows as SQL; column expressions over r (0..) and seed
func advRows(seed, n int) string {
	h := func(x string, m int) string { return fmt.Sprintf("(hash(r, %d, '%s') %% %d)::INTEGER", seed, x, m) }
	nul := func(x, e string) string { return fmt.Sprintf("CASE WHEN %s = 0 THEN NULL ELSE %s END", h("n"+x, 9), e) }
	items := []string{
		nul("k", "['a','b','','d','A',chr(233)]["+h("k", 6)+"+1]") + " AS k",
		nul("i", h("i", 100)+" - 50") + " AS i",
		nul("l", "CASE WHEN "+h("l2", 10)+"=0 THEN 9223372036854775807 WHEN "+h("l2", 10)+"=1 THEN -9223372036854775808 ELSE "+h("l", 7)+" END") + "::BIGINT AS l",
		nul("d", "("+h("d", 1000)+"-500)/7") + "::DECIMAL(10,2) AS d",
		nul("f", "CASE WHEN "+h("f2", 20)+"=0 THEN 'nan'::DOUBLE WHEN "+h("f2", 20)+"=1 THEN -0.0::DOUBLE WHEN "+h("f2", 20)+"=2 THEN 'inf'::DOUBLE WHEN "+h("f2", 20)+" < 6 THEN 0.0::DOUBLE ELSE "+h("f", 1000)+"*0.1::DOUBLE END") + " AS f",
		nul("g", h("g", 10)+" * 0.1") + "::FLOAT AS g",
		nul("b", h("b", 2)+"=1") + " AS b",
		nul("ts", "make_timestamp(((20 + r*1.1)::BIGINT - "+h("ts", 9)+")*1000000 + "+h("ts2", 2)+"*500000)") + " AS ts",
		nul("dt", "DATE '2024-01-01' + "+h("dt", 5)) + "::DATE AS dt",
		nul("li", "CASE WHEN "+h("li2", 5)+"=0 THEN [] WHEN "+h("li2", 5)+"=1 THEN [NULL] ELSE ["+h("li", 3)+","+h("li3", 2)+"] END") + "::INTEGER[] AS li",
		nul("st", "{'a': "+nul("sta", h("sta", 3))+", 'b': ['x','y']["+h("stb", 2)+"+1]}") + "::STRUCT(a INTEGER, b VARCHAR) AS st",
		nul("m", "MAP {['p','q']["+h("m", 2)+"+1]: "+h("m2", 3)+"}") + "::MAP(VARCHAR, INTEGER) AS m",
		nul("iv", "to_days("+h("iv", 3)+") + to_hours("+h("iv2", 2)+"*24)") + "::INTERVAL AS iv",
		nul("h", h("h", 5)+"::HUGEINT * 100000000000000000000") + "::HUGEINT AS h",
		nul("tm", "TIME '10:00:00' + to_minutes("+h("tm", 4)+")") + "::TIME AS tm",
		nul("bl", "encode(['','\\x00','zz']["+h("bl", 3)+"+1])") + "::BLOB AS bl",
		nul("size", h("size", 4)) + "::INTEGER AS size",
		nul("Mixed", h("Mixed", 4)) + "::INTEGER AS \"Mixed\"",
	}
	return fmt.Sprintf("SELECT %s FROM range(%d) t(r) ORDER BY r", strings.Join(items, ", "), n)
}

const advRef = "SELECT * FROM (VALUES ('a', 'anna', 1), ('b', 'bert', 2), ('b', 'bea', 3), ('d', NULL, 4), (NULL, 'nil', NULL), ('', 'empty', 7)) r(k, name, n)"

type adv struct {
	t   testing.TB
	db  *duck.DB
	app *planner.App
	raw map[string][]arrow.Record // whole input per source
	n   map[string]int64
	ref *duck.Table
	std *duck.Conn
}

func newAdv(t testing.TB, seed, n int) *adv {
	db, err := duck.Open(t.Context(), duck.Options{Sealed: true, Threads: 2})
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	var cols []planner.Column
	for _, c := range advCols {
		name, typ, _ := strings.Cut(c, " ")
		cols = append(cols, column(name, typ))
	}
	refCols := []stream.Column{column("k", "VARCHAR").Column, column("name", "VARCHAR").Column, column("n", "INTEGER").Column}
	a := &adv{t: t, db: db, raw: map[string][]arrow.Record{}, n: map[string]int64{}}
	a.app = &planner.App{Sources: []*planner.Source{
		{Name: "s", Columns: cols, Watermark: &planner.Watermark{Column: "ts", Delay: 10 * time.Second}},
		{Name: "o", Columns: cols},
		{Name: "t", Columns: cols, Watermark: &planner.Watermark{Column: "ts", Delay: 12 * time.Second}},
	}, Tables: []*planner.Table{{Name: "ref", Columns: refCols}}}
	c, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer c.Close()
	a.ref, err = c.Select(t.Context(), advRef)
	require.NoError(t, err)
	for i, s := range a.app.Sources {
		_, err = c.Exec(t.Context(), "CREATE OR REPLACE TEMP TABLE gen AS "+advRows(seed*10+i, n))
		require.NoError(t, err)
		tab, err := c.Select(t.Context(), "FROM gen")
		require.NoError(t, err)
		a.raw[s.Name], a.n[s.Name] = tab.Records, tab.NumRows()
	}
	return a
}

func (a *adv) slice(name string, from, to int64) []arrow.Record {
	var out []arrow.Record
	at := int64(0)
	for _, r := range a.raw[name] {
		lo, hi := max(from-at, 0), min(to-at, r.NumRows())
		if lo < hi {
			out = append(out, r.NewSlice(lo, hi))
		}
		at += r.NumRows()
	}
	return out
}

func (a *adv) plan(mode stream.Mode, body string, macros []*planner.Macro, views []*planner.View) (p *planner.Plan, err error) {
	// each query in its own text: views are placed in front
	prefix := ""
	app := *a.app
	app.Macros = macros
	for _, v := range views {
		w := *v
		w.At = len(prefix)
		prefix += v.Body + "\n"
		app.Views = append(app.Views, &w)
	}
	app.Text = &diag.Text{Name: "q", Body: prefix + body}
	c, err := a.db.Conn(a.t.Context())
	require.NoError(a.t, err)
	defer c.Close()
	span := diag.Span{Start: len(prefix), End: len(prefix) + 1}
	return planner.Build(a.t.Context(), &app, &planner.Query{Name: "q", Body: body, At: len(prefix), Mode: mode, Span: span, ModeSpan: span}, c)
}

type advRun struct {
	a     *adv
	p     *planner.Plan
	s     *Session
	wm    map[string]int64
	batch int64
	late  *int64
	table map[string]string
	rows  []string
	err   error
	used, filtered, nullt map[string]int64
}

func (a *adv) open(p *planner.Plan) (*Session, error) {
	s, err := Open(a.t.Context(), Options{Plan: p, DB: a.db})
	if err != nil {
		return nil, err
	}
	if len(p.Tables) > 0 {
		if err := s.LoadTable(a.t.Context(), "ref", a.ref); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (r *advRun) watermark() *int64 {
	var wm *int64
	for _, src := range r.p.Sources {
		if src.Watermark == nil {
			continue
		}
		v, ok := r.wm[src.Name]
		if !ok {
			return nil
		}
		if wm == nil || v < *wm {
			wm = &v
		}
	}
	return wm
}

func (r *advRun) step(in map[string][]arrow.Record, final bool) error {
	c := Call{Batch: r.batch, Watermark: r.watermark(), Late: r.late, Final: final, Inputs: map[string]Input{}, Time: time.Unix(1000, 0)}
	for n, recs := range in {
		c.Inputs[n] = Input{Records: recs}
	}
	out, err := r.s.Run(r.a.t.Context(), c)
	if err != nil {
		return err
	}
	defer out.Result.Release()
	r.batch++
	r.late = c.Watermark
	for _, src := range r.p.Sources {
		n := out.Sources[src.Name]
		r.used[src.Name] += n.Used
		r.filtered[src.Name] += n.Filtered
		r.nullt[src.Name] += n.NullTime
		if n.Late > 0 {
			return fmt.Errorf("LATE rows %d", n.Late)
		}
		if n.MaxTime != nil && src.Watermark != nil {
			next := *n.MaxTime - src.Watermark.Delay.Microseconds()
			if old, ok := r.wm[src.Name]; !ok || next > old {
				r.wm[src.Name] = next
			}
		}
	}
	b := out.Result
	for i, f := range resultSchema(r.p.Schema).Fields() {
		if got := b.Schema.Field(i); got.Name != f.Name || !arrow.TypeEqual(got.Type, f.Type) {
			return fmt.Errorf("SCHEMA: result has %s, plan %s", got, f)
		}
	}
	lines := advTexts(b)
	switch r.p.Mode {
	case stream.Append:
		r.rows = append(r.rows, lines...)
	case stream.Complete:
		r.rows = lines
	case stream.Update:
		for i, line := range lines {
			parts := strings.Split(line, "|")
			key := fmt.Sprint(r.batch, ":", i)
			if r.p.Stateful() && (len(b.Keys) > 0 || len(r.p.Agg.Keys) == 0) {
				key = ""
				for _, k := range b.Keys {
					key += parts[k] + "|"
				}
			}
			if b.Op {
				op := parts[len(parts)-1]
				line = strings.Join(parts[:len(parts)-1], "|")
				if op == stream.OpDelete {
					delete(r.table, key)
					continue
				}
			}
			r.table[key] = line
		}
	}
	return nil
}

func advTexts(b stream.Batch) []string {
	var out []string
	for _, rec := range b.Records {
		for i := range int(rec.NumRows()) {
			parts := make([]string, rec.NumCols())
			for j := range parts {
				if rec.Column(j).IsNull(i) {
					parts[j] = "NULL"
					continue
				}
				parts[j] = strings.ReplaceAll(rec.Column(j).ValueStr(i), "|", "¦")
			}
			out = append(out, strings.Join(parts, "|"))
		}
	}
	return out
}

func (r *advRun) result() []string {
	if r.p.Mode != stream.Update {
		return r.rows
	}
	var out []string
	for _, l := range r.table {
		out = append(out, l)
	}
	return out
}

func (a *adv) sliced(p *planner.Plan, rnd *rand.Rand) (*advRun, error) {
	r := &advRun{a: a, p: p, wm: map[string]int64{}, table: map[string]string{}, used: map[string]int64{}, filtered: map[string]int64{}, nullt: map[string]int64{}}
	var err error
	if r.s, err = a.open(p); err != nil {
		return nil, err
	}
	defer func() { r.s.Close() }()
	if rnd == nil {
		in := map[string][]arrow.Record{}
		for _, s := range p.Sources {
			in[s.Name] = a.raw[s.Name]
		}
		return r, r.step(in, true)
	}
	at := map[string]int64{}
	var changes []func(context.Context, *Session) error
	size := int64(1 + rnd.IntN(25))
	for done := false; !done; {
		done = true
		in := map[string][]arrow.Record{}
		for _, s := range p.Sources {
			n := min(rnd.Int64N(size+1), a.n[s.Name]-at[s.Name])
			in[s.Name] = a.slice(s.Name, at[s.Name], at[s.Name]+n)
			at[s.Name] += n
			done = done && at[s.Name] == a.n[s.Name]
		}
		if err := r.step(in, false); err != nil {
			return r, err
		}
		switch k := rnd.IntN(5); {
		case k < 2:
			list, err := r.s.Snapshot(a.t.Context(), false)
			if err != nil {
				return r, fmt.Errorf("SNAPSHOT %w", err)
			}
			for _, c := range list {
				changes = append(changes, func(ctx context.Context, s *Session) error { return s.Restore(ctx, c) })
			}
			if k == 0 {
				r.s.Close()
				if r.s, err = a.open(p); err != nil {
					return r, err
				}
				for _, ap := range changes {
					if err := ap(a.t.Context(), r.s); err != nil {
						return r, fmt.Errorf("RESTORE %w", err)
					}
				}
			}
		}
	}
	return r, r.step(nil, true)
}

func (a *adv) stock(p *planner.Plan, body string, macros []*planner.Macro, views []*planner.View) ([]string, []string, error) {
	var err error
	fresh := a.std == nil
	if fresh {
		db, err := duck.Open(a.t.Context(), duck.Options{Sealed: true, Threads: 1})
		require.NoError(a.t, err)
		a.std, err = db.Conn(a.t.Context())
		require.NoError(a.t, err)
	}
	c := a.std
	ex := func(sql string) {
		if _, e := c.Exec(a.t.Context(), sql); e != nil && err == nil {
			err = fmt.Errorf("%s: %w", sql, e)
		}
	}
	if fresh {
	ex(sqlfront.Prelude())
	ex("CREATE TABLE ref AS " + advRef)
	for _, s := range a.app.Sources {
		var items []string
		for _, col := range s.Columns {
			items = append(items, fmt.Sprintf("CAST(%s AS %s) AS %s", duck.QuoteIdent(col.Name), col.Type, duck.QuoteIdent(col.Name)))
		}
		if e := c.Import(a.t.Context(), s.Name, strings.Join(items, ", "), a.raw[s.Name], a.raw[s.Name][0].Schema()); e != nil {
			return nil, nil, e
		}
	}
	}
	for _, m := range macros {
		ex(m.Text)
	}
	for _, v := range views {
		ex("CREATE OR REPLACE TEMP VIEW " + duck.QuoteIdent(v.Name) + " AS " + v.Body)
	}
	if err != nil {
		return nil, nil, err
	}
	tab, err := c.Select(a.t.Context(), body)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for _, f := range tab.Schema.Fields() {
		names = append(names, f.Name+" "+f.Type.String())
	}
	return advTexts(stream.Batch{Records: tab.Records, Schema: tab.Schema}), names, nil
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func firstDiff(x, y []string) string {
	mx := map[string]int{}
	for _, l := range x {
		mx[l]++
	}
	for _, l := range y {
		mx[l]--
	}
	var out []string
	for l, n := range mx {
		if n != 0 {
			out = append(out, fmt.Sprintf("   %+d %s", n, l))
		}
	}
	out = sorted(out)
	if len(out) > 8 {
		out = append(out[:4], out[len(out)-4:]...)
	}
	if len(out) == 0 {
		return "   (order only)"
	}
	return strings.Join(out, "\n")
}

func (a *adv) check(mode stream.Mode, body string, macros []*planner.Macro, views []*planner.View, slicings int, rnd *rand.Rand) (verdict string) {
	defer func() {
		if e := recover(); e != nil {
			verdict = fmt.Sprint("PANIC ", e)
		}
	}()
	p, err := a.plan(mode, body, macros, views)
	if err != nil {
		if c := diag.CodeOf(err); c != "" {
			return "refused " + string(c) + ": " + err.Error() + "\n" + diag.Render(err)
		}
		return "UNCODED " + err.Error()
	}
	_ = p.Explain()
	whole, err := a.sliced(p, nil)
	ordered := mode == stream.Complete && strings.Contains(body, "ORDER BY ALL")
	norm := func(l []string) []string {
		if ordered {
			return l
		}
		return sorted(l)
	}
	want, names, serr := a.stock(p, body, macros, views)
	if err != nil || serr != nil {
		if err != nil && serr != nil {
			return "both fail: " + err.Error() + "\n     " + serr.Error()
		}
		return fmt.Sprintf("ONEFAIL whole=%v stock=%v", err, serr)
	}
	_ = names
	msg := ""
	noKeys := mode == stream.Update && p.Stateful() && len(p.Keys) == 0 && len(p.Agg.Keys) > 0
	if w := norm(whole.result()); !equal(w, norm(want)) {
		msg += "STOCK differs\n" + firstDiff(w, norm(want))
	}
	for range slicings {
		r, err := a.sliced(p, rnd)
		if err != nil {
			return msg + " SLICED fails: " + err.Error()
		}
		if noKeys {
			continue
		}
		if g := norm(r.result()); !equal(g, norm(whole.result())) {
			return msg + " SLICED differs\n" + firstDiff(g, norm(whole.result()))
		}
		if mode != stream.Update || true {
			for _, s := range p.Sources {
				if r.used[s.Name] != whole.used[s.Name] || r.filtered[s.Name] != whole.filtered[s.Name] || r.nullt[s.Name] != whole.nullt[s.Name] {
					msg += fmt.Sprintf(" COUNTS %s used %d/%d filtered %d/%d null %d/%d", s.Name, r.used[s.Name], whole.used[s.Name], r.filtered[s.Name], whole.filtered[s.Name], r.nullt[s.Name], whole.nullt[s.Name])
				}
			}
		}
	}
	if msg != "" {
		return msg
	}
	k := ""
	if noKeys {
		k = " (no keys)"
	}
	return fmt.Sprintf("ok %d rows%s", len(want), k)
}

// TestAdvList runs the queries of a file: "modes|query" lines; "!macro NAME text", "!view NAME body".
func TestAdvList(t *testing.T) {
	seed, _ := strconv.Atoi(os.Getenv("ADV_SEED"))
	a := newAdv(t, seed+1, 80)
	file, err := os.Open(os.Getenv("ADV_FILE"))
	require.NoError(t, err)
	sc := bufio.NewScanner(file)
	var macros []*planner.Macro
	var views []*planner.View
	rnd := rand.New(rand.NewPCG(uint64(seed), 7))
	for sc.Scan() {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '!' {
			p := strings.SplitN(line[1:], " ", 3)
			switch p[0] {
			case "macro":
				macros = append(macros, &planner.Macro{Name: p[1], Text: p[2]})
			case "view":
				views = append(views, &planner.View{Name: p[1], Body: p[2]})
			case "clear":
				macros, views = nil, nil
			}
			continue
		}
		modes, body, _ := strings.Cut(line, "|")
		for _, m := range modesOf(modes) {
			v := a.check(m, body, macros, views, 2, rnd)
			if os.Getenv("ADV_Q") != "" && strings.HasPrefix(v, "ok") {
				continue
			}
			if os.Getenv("ADV_EXPLAIN") != "" {
				if p, err := a.plan(m, body, macros, views); err == nil {
					fmt.Println(p.Explain())
				}
			}
			fmt.Printf("%s %s\n  => %s\n", m, body, v)
		}
	}
}
