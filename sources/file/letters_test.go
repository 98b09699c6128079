package file_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sinks/letters"
	"github.com/tidemill/tidemill/trigger"
)

// lettersOf are the letters of some batches that are not about late rows.
func lettersOf(t *testing.T, disk vfs.FS, batches ...int64) (list []letters.Letter) {
	t.Helper()
	for _, b := range batches {
		all, err := letters.Read(disk, "/data/q/dead_letters", b)
		require.NoError(t, err)
		for _, l := range all {
			if l.Kind == letters.Dead {
				list = append(list, l)
			}
		}
	}
	return list
}

// badRows are rows of which every so many does not decode, and as many others do not fit the query.
func badRows(format string, n, every int) string {
	var b strings.Builder
	for i := range n {
		id, k := fmt.Sprint(i), fmt.Sprint(i)
		switch i % every {
		case 1:
			id = `"no"`
		case every / 2:
			k = fmt.Sprintf("bad %d", i)
		}
		ts := fmt.Sprintf("2026-01-01T00:%02d:00", i*60/n)
		if format == "csv" {
			fmt.Fprintf(&b, "%s,%s,%s,%s\n", id, k, ts, strings.Repeat("-", 200))
		} else {
			fmt.Fprintf(&b, `{"id":%s,"k":"%s","ts":"%s","note":"%s"}`+"\n", id, k, ts, strings.Repeat("-", 200))
		}
	}
	return b.String()
}

// TestLettersOfPieces asks that letters have the bytes that they have where payloads are kept, as they are when late rows
// become letters too: of rows in any chunk of any file, packed or not, those that do not decode and those that the query
// can not use. The second file is read while the first one is read again.
func TestLettersOfPieces(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"ndjson", "csv"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			var got [2][]letters.Letter
			for i, with := range []string{"", "WITH (late = 'dead_letter')"} {
				w := newWorld(t, `CREATE SOURCE src (id BIGINT, k VARCHAR, ts TIMESTAMP, note VARCHAR, WATERMARK FOR ts AS ts)
					WITH (connector = 'file', path = '/in/*', max_files_per_batch = 1, format = '`+format+`');
				CREATE SINK mem WITH (connector = 'memory');
				CREATE QUERY q INTO mem OUTPUT MODE APPEND `+with+` AS SELECT id, k::INTEGER AS k, ts FROM src;`)
				mem := w.disk.(*vfs.Mem)
				text := badRows(format, 9000, 1000)
				put(t, mem, "/in/a", text)
				put(t, mem, "/in/b.gz", gzipped(t, text))
				n := inputs
				require.NoError(t, w.run(&n, mem))
				got[i] = lettersOf(t, mem, 0, 1)
			}
			require.Len(t, got[0], 36)
			require.Equal(t, got[1], got[0])
			for _, l := range got[0] {
				if format == "ndjson" || l.Row == nil {
					require.Equal(t, 1, bytes.Count(append(bytes.TrimSpace(l.Payload), '\n'), []byte("\n")), "one line")
				}
				require.True(t, l.Row == nil || bytes.Contains(l.Row, []byte(`"note":"---`)))
			}
		})
	}
}

// TestFileChangesBeforeItsLetter writes a file again between the batch and the letter of one of its rows: nothing is
// delivered. When the file is what it was the batch goes on.
func TestFileChangesBeforeItsLetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `CREATE SOURCE src (id BIGINT, k VARCHAR)
		WITH (connector = 'file', path = '/in/*', format = 'ndjson', spool = 'off');
	CREATE SINK mem WITH (connector = 'memory');
	CREATE QUERY q INTO mem OUTPUT MODE APPEND AS SELECT id, k::INTEGER AS k FROM src;`)
	mem := w.disk.(*vfs.Mem)
	const was, other = "{\"id\":1,\"k\":\"no\"}\n{\"id\":2,\"k\":\"2\"}\n", "{\"id\":1,\"k\":\"on\"}\n{\"id\":2,\"k\":\"2\"}\n"
	put(t, mem, "/in/a", was)
	w.hook = func(point string) error {
		if point == engine.AfterExecute {
			put(t, mem, "/in/a", other)
		}
		return nil
	}
	n := inputs
	err := w.run(&n, mem)
	require.Equal(t, diag.DataLoss, diag.CodeOf(err), "%v", err)
	require.Empty(t, w.table())
	boxes, err := letters.List(mem, "/data/q/dead_letters")
	require.NoError(t, err)
	require.Empty(t, boxes)
	put(t, mem, "/in/a", was)
	w.hook = nil
	require.NoError(t, w.run(&n, mem))
	require.Equal(t, []string{"2 2\n"}, w.table())
	list := lettersOf(t, mem, 0)
	require.Len(t, list, 1)
	require.JSONEq(t, `{"id":1,"k":"no"}`, string(list[0].Payload))
}

// TestFileGoneBeforeItsLetter takes a file away between the batch and the letter of one of its rows, where on_data_loss is
// 'skip': the rows that were read stay read, and the letter has what is left.
func TestFileGoneBeforeItsLetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `CREATE SOURCE src (id BIGINT, k VARCHAR, note VARCHAR)
		WITH (connector = 'file', path = '/in/*', format = 'ndjson', spool = 'off', on_data_loss = 'skip');
	CREATE SINK mem WITH (connector = 'memory');
	CREATE QUERY q INTO mem OUTPUT MODE APPEND AS SELECT id, k::INTEGER AS k FROM src;`)
	mem := w.disk.(*vfs.Mem)
	put(t, mem, "/in/a", "{\"id\":1,\"k\":\"no\"}\n{\"id\":2,\"k\":\"2\"}\n{\"id\":3,\"k\":\"none\"}\n")
	w.hook = func(point string) error {
		if point == engine.AfterExecute {
			return mem.Remove("/in/a")
		}
		return nil
	}
	n := inputs
	require.NoError(t, w.run(&n, mem))
	require.Equal(t, []string{"2 2\n"}, w.table())
	list := lettersOf(t, mem, 0)
	require.Len(t, list, 2)
	for i, row := range []string{`{"id":1,"k":"no"}`, `{"id":3,"k":"none"}`} {
		require.Equal(t, "/in/a", list[i].File)
		require.Empty(t, list[i].Payload)
		require.JSONEq(t, row, string(list[i].Row))
	}
}

// TestLettersOfASlot asks for payload and row of letters of a batch that reads all of history, where every row decodes.
func TestLettersOfASlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `CREATE SOURCE src (id BIGINT, k VARCHAR, ts TIMESTAMP, note VARCHAR, WATERMARK FOR ts AS ts)
		WITH (connector = 'file', path = '/in/*', format = 'ndjson');
	CREATE SINK mem WITH (connector = 'memory');
	CREATE QUERY q INTO mem TRIGGER CRON '0 * * * *' AS SELECT id, k::INTEGER AS k, getvariable('slot_start') AS slot FROM src
		WHERE ts >= getvariable('slot_start') AND ts < getvariable('slot_end');`)
	mem := w.disk.(*vfs.Mem)
	put(t, mem, "/in/a", strings.ReplaceAll(badRows("ndjson", 9000, 3000), `"no"`, "1"))
	q, err := engine.Open(t.Context(), w.options(), w.app, "q")
	require.NoError(t, err)
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w.clock.Advance(2 * time.Hour)
	err = q.RunSlot(t.Context(), trigger.Slot{Start: from, End: from.Add(time.Hour)})
	require.NoError(t, errors.Join(err, q.Close(t.Context())))
	list := lettersOf(t, mem, 0)
	require.Len(t, list, 3)
	for i, l := range list {
		require.True(t, bytes.HasPrefix(l.Payload, fmt.Appendf(nil, `{"id":%d,"k":"bad %d"`, 3000*i+1500, 3000*i+1500)), "%s", l.Payload)
		require.Contains(t, string(l.Row), `"note":"---`)
	}
}
