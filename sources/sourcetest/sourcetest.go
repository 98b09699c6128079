// Package sourcetest is the contract of stream.Source as a test suite. Every source runs it, and says in
// Features which of the optional parts it claims.
package sourcetest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

// Features says what a source claims beyond the contract that all keep.
type Features struct {
	Rows  bool // Limit.Rows cuts ranges
	Files bool // Limit.Files cuts ranges
	Bytes bool // Limit.Bytes cuts ranges
	// Fixed sources hold what they hold from the beginning: Add is only called before the first Open.
	Fixed bool
}

// Harness is one input outside, and how to open a source over it.
type Harness struct {
	// Open opens the source. A second call is a restart: same data dir, same input.
	Open func(t *testing.T) stream.Source
	// Add puts n more positions (rows, messages or files) into the input. They are there when it returns.
	Add func(t *testing.T, n int)
}

const positions = 23

// Run runs the suite. Each part gets a harness of its own from factory.
func Run(t *testing.T, factory func(t *testing.T) Harness, f Features) {
	t.Helper()
	for _, part := range []struct {
		name string
		run  func(t *testing.T, h Harness, f Features)
	}{
		{"SlicesGiveTheSameRows", slicesGiveTheSameRows},
		{"ReadsAgainAfterRestart", readsAgainAfterRestart},
		{"NothingNewAtTheEnd", nothingNewAtTheEnd},
		{"UntilIsNeverPassed", untilIsNeverPassed},
		{"GrowthLeavesOldRowsAlone", growthLeavesOldRowsAlone},
		{"AnotherIdentityIsRefused", anotherIdentityIsRefused},
		{"AcknowledgeIsIdempotent", acknowledgeIsIdempotent},
		{"CancellationIsHonoured", cancellationIsHonoured},
		{"BadOffsetsAreErrors", badOffsetsAreErrors},
		{"CloseIsIdempotent", closeIsIdempotent},
	} {
		t.Run(part.name, func(t *testing.T) {
			h := factory(t)
			h.Add(t, positions)
			part.run(t, h, f)
		})
	}
}

func open(t *testing.T, h Harness) (stream.Source, stream.Offset) {
	t.Helper()
	s := h.Open(t)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	from, _, err := s.Start(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, from)
	return s, from
}

// read returns the rows of a range, each as text with all that is known of it.
func read(t *testing.T, s stream.Source, r stream.Range) ([]string, uint32) {
	t.Helper()
	in, err := s.Read(t.Context(), r)
	require.NoError(t, err)
	defer in.Release()
	require.Zero(t, in.Lost)
	SamePieces(t, s, r, in)
	require.False(t, in.Messages != nil && in.Rows != nil, "only one of Messages and Rows may be set")
	var rows []string
	for i := range in.Messages.Len() {
		row := string(in.Messages.Payload(i))
		if m := in.Messages; m.Sequence != nil {
			require.Len(t, m.Sequence, m.Len())
			require.True(t, i == 0 || m.Sequence[i] > m.Sequence[i-1], "sequences must ascend")
			row = fmt.Sprint(m.Sequence[i], " ", row)
		}
		rows = append(rows, row)
	}
	for _, rec := range in.Rows {
		require.Positive(t, rec.NumRows(), "a record without rows")
		data, err := rec.MarshalJSON()
		require.NoError(t, err)
		var list []json.RawMessage
		require.NoError(t, json.Unmarshal(data, &list))
		for _, r := range list {
			rows = append(rows, string(r))
		}
	}
	return rows, in.CRC
}

// SamePieces asks that a source which can give pieces gives the messages of a range so, and returns what came.
func SamePieces(t *testing.T, s stream.Source, r stream.Range, want *stream.Input) (p Pieces) {
	t.Helper()
	pieces, ok := s.(stream.Pieces)
	if !ok {
		return p
	}
	in, err := pieces.ReadPieces(t.Context(), r, &p)
	require.NoError(t, err)
	defer in.Release()
	require.Nil(t, in.Messages)
	require.Equal(t, want.CRC, in.CRC)
	require.Equal(t, want.Lost, in.Lost)
	require.Equal(t, want.Broken, in.Broken)
	require.Equal(t, want.Messages.Len(), p.Len())
	if p.Len() > 0 {
		require.Equal(t, *want.Messages, p.Messages)
	}
	return p
}

// Pieces is a stream.PieceTaker that keeps a copy of what it is given.
type Pieces struct {
	stream.Messages
	Cuts, Takes int
}

func (p *Pieces) Expect(int64) {}

func (p *Pieces) Take(m *stream.Messages) {
	p.Takes++
	for i := range m.Len() {
		p.Append(m.Sequence[i], m.Payload(i))
	}
	p.Published, p.Subject = append(p.Published, m.Published...), append(p.Subject, m.Subject...)
	p.Headers, p.File = append(p.Headers, m.Headers...), append(p.File, m.File...)
}

func (p *Pieces) Cut(n int) {
	p.Cuts++
	size := 0
	if n > 0 {
		size = p.Ends[n-1]
	}
	p.Data, p.Ends, p.Sequence = p.Data[:size], p.Ends[:n], p.Sequence[:n]
	p.Published, p.Subject = p.Published[:min(n, len(p.Published))], p.Subject[:min(n, len(p.Subject))]
	p.Headers, p.File = p.Headers[:min(n, len(p.Headers))], p.File[:min(n, len(p.File))]
}

// ranges walks from from to the end in steps of limit.
func ranges(t *testing.T, s stream.Source, from stream.Offset, limit stream.Limit) []stream.Range {
	t.Helper()
	var all []stream.Range
	identity := ""
	for range 10 * positions {
		a, err := s.Available(t.Context(), from, identity, limit)
		require.NoError(t, err)
		require.NotEmpty(t, a.Identity)
		if a.To == from {
			return all
		}
		identity = a.Identity
		all = append(all, stream.Range{From: from, To: a.To, Identity: a.Identity})
		from = a.To
	}
	t.Fatalf("no end after %d ranges", len(all))
	return nil
}

func readAll(t *testing.T, s stream.Source, all []stream.Range) []string {
	t.Helper()
	var rows []string
	for _, r := range all {
		got, _ := read(t, s, r)
		rows = append(rows, got...)
	}
	return rows
}

func limits(f Features) []stream.Limit {
	var l []stream.Limit
	for _, n := range []int64{1, 3, 7, 1000} {
		if f.Rows {
			l = append(l, stream.Limit{Rows: n})
		}
		if f.Files {
			l = append(l, stream.Limit{Files: n})
		}
		if f.Bytes {
			l = append(l, stream.Limit{Bytes: 20 * n})
		}
	}
	return l
}

func slicesGiveTheSameRows(t *testing.T, h Harness, f Features) {
	s, from := open(t, h)
	whole := readAll(t, s, ranges(t, s, from, stream.Limit{}))
	require.NotEmpty(t, whole)
	for _, limit := range limits(f) {
		all := ranges(t, s, from, limit)
		if limit.Rows+limit.Files == 1 || limit.Bytes == 20 {
			require.Greater(t, len(all), 1, "limit %+v does not cut", limit)
		}
		var rows []string
		for _, r := range all {
			got, _ := read(t, s, r)
			if limit.Rows > 0 {
				require.LessOrEqual(t, len(got), int(limit.Rows), "limit %+v", limit)
			}
			rows = append(rows, got...)
		}
		require.Equal(t, whole, rows, "limit %+v", limit)
	}
}

func some(f Features) stream.Limit {
	switch {
	case f.Rows:
		return stream.Limit{Rows: 5}
	case f.Files:
		return stream.Limit{Files: 5}
	}
	return stream.Limit{}
}

func readsAgainAfterRestart(t *testing.T, h Harness, f Features) {
	s, from := open(t, h)
	all := ranges(t, s, from, some(f))
	rows, crcs := make([][]string, len(all)), make([]uint32, len(all))
	for i, r := range all {
		rows[i], crcs[i] = read(t, s, r)
	}
	require.NoError(t, s.Close())
	again := h.Open(t)
	defer func() { require.NoError(t, again.Close()) }()
	for i, r := range slices.Backward(all) {
		got, crc := read(t, again, r)
		require.Equal(t, rows[i], got)
		require.Equal(t, crcs[i], crc)
	}
	require.Equal(t, all, ranges(t, again, from, some(f)), "a restart must find the same ranges")
}

func nothingNewAtTheEnd(t *testing.T, h Harness, _ Features) {
	s, from := open(t, h)
	all := ranges(t, s, from, stream.Limit{})
	last := all[len(all)-1]
	a, err := s.Available(t.Context(), last.To, last.Identity, stream.Limit{Rows: 1, Files: 1})
	require.NoError(t, err)
	require.Equal(t, last.To, a.To)
	require.LessOrEqual(t, a.Behind, int64(0))
}

func untilIsNeverPassed(t *testing.T, h Harness, f Features) {
	s, from := open(t, h)
	all := ranges(t, s, from, some(f))
	middle := all[len(all)/2].To
	bounded := ranges(t, s, from, stream.Limit{Until: middle})
	require.Equal(t, middle, bounded[len(bounded)-1].To)
	require.Equal(t, all[:len(all)/2+1], ranges(t, s, from, stream.Limit{Rows: some(f).Rows, Files: some(f).Files, Until: middle}))
	a, err := s.Available(t.Context(), middle, "", stream.Limit{Until: middle})
	require.NoError(t, err)
	require.Equal(t, middle, a.To)
}

func growthLeavesOldRowsAlone(t *testing.T, h Harness, f Features) {
	if f.Fixed {
		t.Skip("the source does not grow")
	}
	s, from := open(t, h)
	before := ranges(t, s, from, stream.Limit{})
	rows := readAll(t, s, before)
	h.Add(t, positions)
	end := before[len(before)-1].To
	if w, ok := s.(stream.Waiter); ok {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, w.Wait(ctx, end))
	}
	require.Equal(t, rows, readAll(t, s, before))
	more := ranges(t, s, end, stream.Limit{})
	require.Equal(t, 2*len(rows), len(rows)+len(readAll(t, s, more)))
}

func anotherIdentityIsRefused(t *testing.T, h Harness, _ Features) {
	s, from := open(t, h)
	_, err := s.Available(t.Context(), from, "somebody else", stream.Limit{})
	require.Equal(t, diag.SourceReplaced, diag.CodeOf(err), "%v", err)
	require.False(t, diag.Temporary(err))
}

func acknowledgeIsIdempotent(t *testing.T, h Harness, f Features) {
	s, from := open(t, h)
	all := ranges(t, s, from, some(f))
	last := all[len(all)-1]
	rows, _ := read(t, s, last)
	for _, to := range []stream.Offset{from, last.From, last.From, from} {
		require.NoError(t, s.Acknowledge(t.Context(), to))
	}
	got, _ := read(t, s, last)
	require.Equal(t, rows, got, "what is not acknowledged must stay")
	require.NoError(t, s.Acknowledge(t.Context(), last.To))
	require.NoError(t, s.Acknowledge(t.Context(), last.To))
}

func cancellationIsHonoured(t *testing.T, h Harness, _ Features) {
	s, from := open(t, h)
	all := ranges(t, s, from, stream.Limit{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Read(ctx, all[0])
	require.ErrorIs(t, err, context.Canceled)
	if w, ok := s.(stream.Waiter); ok {
		require.ErrorIs(t, w.Wait(ctx, all[len(all)-1].To), context.Canceled)
		require.NoError(t, w.Wait(t.Context(), from), "there is something after the start")
	}
}

func badOffsetsAreErrors(t *testing.T, h Harness, _ Features) {
	s, from := open(t, h)
	for _, bad := range []stream.Offset{"", "x", "-1", "{}", "99999999999999999999"} {
		_, err := s.Available(t.Context(), bad, "", stream.Limit{})
		require.Error(t, err, "%q", bad)
		_, err = s.Read(t.Context(), stream.Range{From: from, To: bad})
		require.Error(t, err, "%q", bad)
	}
}

func closeIsIdempotent(t *testing.T, h Harness, _ Features) {
	s := h.Open(t)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
}
