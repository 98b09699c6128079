package keyed

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/spill"
	"pgregory.net/rapid"
)

// modelRow is a row of the model: all columns as text, and its time.
type modelRow struct {
	shown string
	time  int64
	timed bool
}

// model is a store made of Go maps.
type model struct {
	schema     *arrow.Schema
	keys, time int
	rows       map[string]modelRow
	marked     map[string]modelRow // at the last Freeze; nil without
	dirty      map[string]bool     // put or deleted since
	saved      map[string]modelRow // at Begin
	order      []string            // of the store at Begin
	savedDirty map[string]bool
}

func (m *model) put(rec arrow.Record) {
	for r := range int(rec.NumRows()) {
		row := modelRow{shown: rowText(rec, r, int(rec.NumCols()), false)}
		if m.time >= 0 && rec.Column(m.time).IsValid(r) {
			row.timed = true
			switch a := rec.Column(m.time).(type) {
			case *array.Int64:
				row.time = a.Value(r)
			case *array.Timestamp:
				row.time = int64(a.Value(r))
			}
		}
		key := rowText(rec, r, m.keys, true)
		if m.rows[key] != row {
			m.dirty[key] = true
		}
		m.rows[key] = row
	}
}

// drop removes a key and reports whether it was there.
func (m *model) drop(key string) bool {
	_, ok := m.rows[key]
	if ok {
		m.dirty[key] = true
		delete(m.rows, key)
	}
	return ok
}

// expired returns the keys whose time has come, by time.
func (m *model) expired(upTo int64) []string {
	var keys []string
	for key, row := range m.rows {
		if row.timed && row.time <= upTo {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Compare(m.rows[a].time, m.rows[b].time) })
	return keys
}

func (m *model) shown(keys []string) []string {
	var out []string
	for _, k := range keys {
		out = append(out, m.rows[k].shown)
	}
	return out
}

// machine runs a store beside the model, and a second store that lives on state versions.
type machine struct {
	model
	store   *Store
	replica *Store
	open    bool
	options Options
	frozen  *frozenModel // what has not been read yet
}

// frozenModel is what a Frozen must have.
type frozenModel struct {
	*Frozen
	base      bool
	rows      map[string]modelRow
	put, gone []string
	read      []arrow.Record
}

func newMachine(t *rapid.T, memory *spill.Pool) *machine {
	types := allTypes()
	if rapid.Bool().Draw(t, "plain") {
		types = types[:2]
	}
	var columns []arrow.DataType
	keys := rapid.IntRange(0, 3).Draw(t, "keys")
	for range keys + rapid.IntRange(1, 3).Draw(t, "values") {
		columns = append(columns, rapid.SampledFrom(types).Draw(t, "type"))
	}
	time, name := -1, ""
	if rapid.Bool().Draw(t, "timed") {
		time = rapid.IntRange(0, len(columns)-1).Draw(t, "time")
		columns[time] = rapid.SampledFrom([]arrow.DataType{arrow.PrimitiveTypes.Int64,
			&arrow.TimestampType{Unit: arrow.Microsecond}}).Draw(t, "time type")
	}
	schema := schemaOf(columns...)
	if time >= 0 {
		name = schema.Field(time).Name
	}
	m := &machine{options: Options{Schema: schema, Keys: keys, Time: name, Memory: memory}}
	m.model = model{schema: schema, keys: keys, time: time, rows: map[string]modelRow{},
		dirty: map[string]bool{}}
	var err error
	m.store, err = New(m.options)
	require.NoError(t, err)
	m.replica, err = New(m.options)
	require.NoError(t, err)
	// Small pages, so that few rows fill and empty many.
	m.store.arena.limit = rapid.SampledFrom([]int{256, 1 << 10, pageBytes}).Draw(t, "page")
	return m
}

func (m *machine) random(t *rapid.T) arrow.Record {
	rng := rand.New(rand.NewPCG(1, rapid.Uint64Range(0, 1<<20).Draw(t, "seed")))
	return randomRecord(m.schema, rapid.IntRange(0, 40).Draw(t, "rows"), rng.IntN)
}

func (m *machine) begin(t *rapid.T) {
	if m.open {
		return
	}
	m.open = true
	m.saved, m.savedDirty = maps.Clone(m.rows), maps.Clone(m.dirty)
	m.order = texts(t, all(m.store))
	m.store.Begin()
}

func (m *machine) end(t *rapid.T) {
	if !m.open {
		return
	}
	m.open = false
	if rapid.Bool().Draw(t, "commit") {
		m.store.Commit()
		return
	}
	m.store.Rollback()
	m.rows, m.dirty = m.saved, m.savedDirty
	require.Equal(t, m.order, texts(t, all(m.store)))
}

func (m *machine) put(t *rapid.T) {
	m.begin(t)
	rec := m.random(t)
	require.NoError(t, m.store.Put(rec))
	m.model.put(rec)
}

func (m *machine) remove(t *rapid.T) {
	m.begin(t)
	rec := m.random(t)
	want := 0
	for r := range int(rec.NumRows()) {
		if m.drop(rowText(rec, r, m.keys, true)) {
			want++
		}
	}
	n, err := m.store.Delete(rec)
	require.NoError(t, err)
	require.Equal(t, want, n)
}

func (m *machine) lookup(t *rapid.T) {
	rec := m.random(t)
	var want []string
	seen := map[string]bool{}
	for r := range int(rec.NumRows()) {
		key := rowText(rec, r, m.keys, true)
		if row, ok := m.rows[key]; ok && !seen[key] {
			seen[key] = true
			want = append(want, row.shown)
		}
	}
	got, err := m.store.Lookup(rec)
	require.NoError(t, err)
	require.Equal(t, want, texts(t, got))
}

func (m *machine) expire(t *rapid.T) {
	m.begin(t)
	upTo := rapid.SampledFrom([]int64{-5, -1, 0, 1, 5, 1 << 62}).Draw(t, "up to")
	keys := m.expired(upTo)
	peeked := texts(t, m.store.Expired(upTo))
	require.ElementsMatch(t, m.shown(keys), peeked)
	require.True(t, slices.IsSortedFunc(peeked, func(a, b string) int {
		return cmp.Compare(m.timeOf(a), m.timeOf(b))
	}))
	if rapid.Bool().Draw(t, "remove") {
		require.Equal(t, peeked, texts(t, m.store.Expire(upTo)))
		for _, k := range keys {
			m.drop(k)
		}
		require.Empty(t, m.store.Expired(upTo))
	}
}

func (m *machine) timeOf(shown string) int64 {
	for _, row := range m.rows {
		if row.shown == shown {
			return row.time
		}
	}
	panic(shown)
}

// version takes a state version, and compares the one before.
func (m *machine) version(t *rapid.T) {
	m.end(t)
	m.thaw(t)
	base := rapid.Bool().Draw(t, "base")
	m.frozen = &frozenModel{Frozen: m.store.Freeze(base), rows: maps.Clone(m.rows), base: base || m.marked == nil}
	m.frozen.most = 64
	for key := range m.dirty {
		if row, ok := m.rows[key]; ok {
			m.frozen.put = append(m.frozen.put, row.shown)
		} else if _, ok := m.marked[key]; ok {
			m.frozen.gone = append(m.frozen.gone, key)
		}
	}
	m.marked, m.dirty = maps.Clone(m.rows), map[string]bool{}
}

// thaw reads what was frozen, whatever batches have done meanwhile, gives it to the replica, and compares.
func (m *machine) thaw(t *rapid.T) {
	f := m.frozen
	if f == nil {
		return
	}
	m.frozen = nil
	changed, deleted, ok := frozen(f.Frozen)
	changed = append(f.read, changed...)
	require.Equal(t, f.base, !ok)
	require.Equal(t, len(changed)+len(deleted) == 0, f.Empty())
	if f.base {
		f.put, f.gone = nil, nil
		for _, row := range f.rows {
			f.put = append(f.put, row.shown)
		}
	}
	require.ElementsMatch(t, f.put, texts(t, changed))
	require.ElementsMatch(t, f.gone, keyTexts(deleted))
	if f.base {
		require.NoError(t, m.replica.Restore(true, nil, nil))
		for _, rec := range changed {
			require.NoError(t, m.replica.Fill(rec))
		}
	} else {
		require.NoError(t, m.replica.Restore(false, changed, deleted))
	}
	require.Len(t, f.rows, m.replica.Len())
	want := make([]string, 0, len(f.rows))
	for _, row := range f.rows {
		want = append(want, row.shown)
	}
	require.ElementsMatch(t, want, texts(t, all(m.replica)))
}

// some reads a part of what is frozen, also while a batch is open.
func (m *machine) some(*rapid.T) {
	if m.frozen != nil {
		m.frozen.read = append(m.frozen.read, m.frozen.Frozen.some()...)
	}
}

func (m *machine) forget(t *rapid.T) {
	m.end(t)
	m.store.Forget()
	m.marked = nil
}

// resume goes on with the replica as after a restart.
func (m *machine) resume(t *rapid.T) {
	m.version(t)
	m.thaw(t)
	if m.time >= 0 {
		require.Equal(t, texts(t, m.store.Expired(1<<62)), texts(t, m.replica.Expired(1<<62)))
	}
	m.store, m.replica = m.replica, m.store
	require.NoError(t, m.replica.Restore(true, nil, nil))
	for _, rec := range all(m.store) {
		require.NoError(t, m.replica.Fill(rec))
	}
}

func (m *machine) check(t *rapid.T) {
	require.Equal(t, len(m.rows), m.store.Len())
	want := make([]string, 0, len(m.rows))
	for _, row := range m.rows {
		want = append(want, row.shown)
	}
	require.ElementsMatch(t, want, texts(t, all(m.store)))
	checkAccounts(t, m.store)
}

func TestStoreIsAMap(t *testing.T) {
	t.Parallel()
	for name, memory := range map[string]*spill.Pool{"in memory": nil, "spilled": spilling(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storeIsAMap(t, memory)
		})
	}
}

func storeIsAMap(t *testing.T, memory *spill.Pool) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t, memory)
		t.Cleanup(func() {
			if m.frozen != nil {
				m.frozen.Close()
			}
			closeStore(m.store)
			closeStore(m.replica)
			require.Zero(t, memory.Spilled(), "a closed store has given all its memory back")
		})
		t.Repeat(map[string]func(*rapid.T){
			"": m.check, "put": m.put, "delete": m.remove, "lookup": m.lookup, "end": m.end, "expire": m.expire,
			"version": m.version, "thaw": m.thaw, "some": m.some, "forget": m.forget, "resume": m.resume,
		})
	})
}

// checkAccounts compares what the store counts with what there is.
func checkAccounts(t require.TestingT, s *Store) {
	var cells, used, dead, pages int
	for i := range s.table.parts {
		for _, c := range s.table.parts[i].cells {
			if c != 0 {
				cells++
				require.True(t, s.rows.inUse(uint32(c)-1))
			}
		}
	}
	if s.unindexed != nil { // no batch has come since they were filled in
		for _, part := range s.unindexed {
			cells += len(part)
		}
	}
	rowsUsed := 0
	s.rows.each(func(uint32, byte) bool { rowsUsed++; return true })
	require.Equal(t, rowsUsed, cells)
	for _, p := range s.arena.pages {
		used, dead, pages = used+len(p.mem), dead+p.dead, pages+cap(p.mem)
	}
	require.Equal(t, []int{used, dead, pages}, []int{s.arena.used, s.arena.dead, s.arena.bytes})
	chunks := 0
	for _, c := range s.rows.chunks {
		chunks += len(c.mem)
	}
	require.Equal(t, chunks, s.rows.bytes)
	empty := 0
	for _, row := range s.times.first {
		if row == 0 {
			empty++
		}
	}
	require.Equal(t, empty, s.times.empty)
	require.Len(t, s.times.heap, len(s.times.first))
}
