package letters

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

const dir = "/q/dead_letters"

func some(n int) []Letter {
	list := []Letter{
		{Source: "orders", Sequence: 7, Ordinal: 3, Kind: Dead, Reason: "amount: \"x\" is not a <DOUBLE>", Payload: []byte(`{"amount":"x"}`),
			Published: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Subject: "orders.no"},
		{Source: "orders", Sequence: 8, Kind: Dead, Reason: "not JSON", Payload: []byte{0xff, 0, 1}},
		{Source: "orders", Sequence: 9, Kind: Dead, Reason: "empty", Payload: []byte{}},
		{Source: "orders", Sequence: 10, Index: 2, Kind: Late, Reason: "window closed", Row: json.RawMessage(`{"id":1}`)},
		{Source: "visits", Sequence: 3 << 40, Index: 1, Kind: Dead, Reason: "no number", File: "in/c.csv"},
	}
	return list[:n]
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	box, err := Open(mem, dir, Options{})
	require.NoError(t, err)
	require.NoError(t, box.Write(5, some(5)))
	got, err := Read(mem, dir, 5)
	require.NoError(t, err)
	want := some(5)
	for i := range want {
		want[i].Batch = 5
	}
	require.Equal(t, want, got)
	require.Equal(t, "7", got[0].Place())
	require.Equal(t, "in/c.csv", got[4].Place())
	got, err = Read(mem, dir, 6)
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestAgain(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	box, err := Open(mem, dir, Options{})
	require.NoError(t, err)
	require.NoError(t, box.Write(5, some(2)))
	first, err := vfs.ReadFile(mem, dir+"/0000000000000005.ndjson")
	require.NoError(t, err)
	box, err = Open(mem, dir, Options{})
	require.NoError(t, err)
	require.NoError(t, box.Write(5, some(2)))
	second, err := vfs.ReadFile(mem, dir+"/0000000000000005.ndjson")
	require.NoError(t, err)
	require.Equal(t, string(first), string(second))
	files, err := List(mem, dir)
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, box.Write(5, nil), "no letters, no file")
	files, err = List(mem, dir)
	require.NoError(t, err)
	require.Empty(t, files)
}

func TestRetention(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{"batches": {BatchesMax: 3}, "bytes": {BytesMax: 1100}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mem := vfs.NewMem()
			box, err := Open(mem, dir, o)
			require.NoError(t, err)
			for b := range int64(10) {
				require.NoError(t, box.Write(b, some(2)))
			}
			files, err := List(mem, dir)
			require.NoError(t, err)
			require.Len(t, files, 3)
			require.Equal(t, int64(9), files[2].Batch)
			require.Equal(t, int64(7), files[0].Batch)
		})
	}
}

// TestCrash stops the machine after every call: each file that is there is whole.
func TestCrash(t *testing.T) {
	t.Parallel()
	for k := int64(1); ; k++ {
		mem := vfs.NewMem()
		fault := vfs.NewFault(mem)
		fault.StopAfter(k)
		done := 0
		box, err := Open(fault, dir, Options{})
		for b := range int64(3) {
			if err == nil {
				err = box.Write(b, some(5))
			}
			if err == nil {
				done++
			}
		}
		for i, keep := range []float64{0, 0.5, 1} {
			disk := mem.Crash(keep, int64(i))
			files, listErr := List(disk, dir)
			require.NoError(t, listErr)
			require.GreaterOrEqual(t, len(files), done)
			for _, f := range files {
				list, readErr := Read(disk, dir, f.Batch)
				require.NoError(t, readErr)
				require.Len(t, list, 5)
			}
		}
		if err == nil {
			require.Equal(t, 3, done)
			return
		}
	}
}

func TestDamaged(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	_, err := Open(mem, dir, Options{})
	require.NoError(t, err)
	require.NoError(t, vfs.WriteFile(mem, dir+"/0000000000000001.ndjson", []byte("{\"source\":\"s\"}\n{oops\n")))
	_, err = Read(mem, dir, 1)
	require.Equal(t, diag.StateCorrupt, diag.CodeOf(err))
	require.ErrorContains(t, err, "line 2")
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "{}\n", `{"payload_base64":"!"}`, `{"payload":"\ud800","row":[1]}` + "\n", "null\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parse("x", data)
		if err != nil {
			return
		}
		for _, l := range list {
			text, err := json.Marshal(l)
			require.NoError(t, err)
			var again Letter
			require.NoError(t, json.Unmarshal(text, &again))
			require.Equal(t, l.Payload, again.Payload)
			require.Equal(t, l.Sequence, again.Sequence)
		}
	})
}
