package engine_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemill/tidemill/planner"
)

// plot is a life of a query that crash tests stop everywhere: batches, state versions, a clean stop, a second life.
type plot struct {
	name string
	sql  string // of one query, INTO mem and, where the mode allows, the folder FOLDER
	file bool
}

const plotSource = `
CREATE SOURCE src (id BIGINT, k VARCHAR, v BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
  WITH (connector = 'memory');
CREATE SINK mem WITH (connector = 'memory');
`

func plots() []plot {
	folder := "CREATE SINK folder WITH (connector = 'json', path = 'FOLDER');\n"
	return []plot{
		{"append", plotSource + folder + `CREATE QUERY q INTO mem, folder OUTPUT MODE APPEND WITH (late = 'dead_letter') AS
			SELECT window_start, k, count(*) AS n, sum(v) AS s, list(id) AS ids
			FROM tumble(src, ts, INTERVAL '10 seconds') GROUP BY window_start, k;`, true},
		{"update", plotSource + `CREATE QUERY q INTO mem OUTPUT MODE UPDATE AS
			SELECT k, count(*) AS n, sum(v) AS s, median(v) AS m FROM src GROUP BY k HAVING count(*) <> 3;`, false},
		{"stateless", plotSource + folder + `CREATE QUERY q INTO folder, mem OUTPUT MODE APPEND AS
			SELECT id, k, 100 / v AS share, v::TINYINT AS small FROM src WHERE k <> 'b';`, true},
	}
}

// plotRows are what arrives, step by step: disorder, NULLs, a late row and, for TINYINT, a poisonous value.
func plotRows() [][][]any {
	return [][][]any{
		{{1, "a", 5, at(1)}, {2, "b", 7, at(3)}, {3, "a", 1, at(12)}},
		{{4, "a", 2, at(2)}, {5, "c", nil, at(14)}, {6, "b", 9, at(18)}, {7, nil, 9, at(19)}},
		{{8, "a", 1000, at(1)}, {9, "b", 3, at(31)}, {10, "c", 4, nil}},
		{{11, "a", 8, at(33)}, {12, "c", 2, at(29)}, {13, "a", 3, at(47)}},
		{{14, "b", 6, at(41)}, {15, "a", 2000, at(62)}},
	}
}

// stopAt is the step before which a plot stops cleanly and starts again.
const stopAt = 3

// life is one run of a plot on one disk. It may be continued after a crash.
type life struct {
	*world
	plot plot
	app  *planner.App
	step int // rows up to here have been added
	done bool
}

// newLife returns a life of a plot that has not begun. Lives of one plot share its planned text and nothing else.
func newLife(t testing.TB, p *parser, pl plot) *life {
	w := newWorld(t, p)
	pl.sql = strings.ReplaceAll(pl.sql, "FOLDER", filepath.Join(filepath.Dir(w.dir), "out"))
	return &life{world: w, plot: pl, app: w.app(pl.sql)}
}

// fresh returns a life like l that has not begun, on an empty disk.
func (l *life) fresh(t testing.TB) *life {
	w := newWorld(t, l.parser)
	w.dir = l.dir
	return &life{world: w, plot: l.plot, app: l.app}
}

// run goes on to the end of the plot. On an error the query is dropped as if the process had been killed.
func (l *life) run() error {
	q, err := l.open(l.app)
	if err != nil {
		return err
	}
	for ; ; l.step++ {
		if err := q.Idle(l.t.Context()); err != nil {
			return errors.Join(err, q.Abandon())
		}
		if l.step == len(plotRows()) {
			break
		}
		if l.step == stopAt {
			if err := q.Close(l.t.Context()); err != nil {
				return err
			}
			if q, err = l.open(l.app); err != nil {
				l.step = stopAt
				return err
			}
		}
		l.manual.Advance(11 * time.Second) // a state version is due after each batch
		l.feed()
	}
	if err := q.Finish(l.t.Context()); err != nil {
		return errors.Join(err, q.Abandon())
	}
	l.done = true
	return q.Close(l.t.Context())
}

// feed adds the step's rows; they stay in the source whatever happens to the disk.
func (l *life) feed() {
	have := l.sources.Rows("src")
	want := int64(0)
	for _, rows := range plotRows()[:l.step+1] {
		want += int64(len(rows))
	}
	if have < want {
		l.add(l.app, "src", plotRows()[l.step]...)
	}
}

// held is everything that can be seen of a life from outside.
func (l *life) held() string {
	var b strings.Builder
	fmt.Fprintln(&b, strings.Join(l.batches("mem"), "\n"))
	if l.plot.file {
		fmt.Fprintln(&b, strings.Join(glob(l.t, l.disk, filepath.Join(filepath.Dir(l.dir), "out")), "\n"))
	}
	fmt.Fprintln(&b, strings.Join(l.deadLetters("q"), "\n"))
	return b.String()
}
