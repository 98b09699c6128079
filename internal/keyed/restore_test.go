package keyed

import (
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"
)

// TestFillThenWork fills in so many rows that each table has many, and asks for all of them, by what comes next: a look-up,
// a batch, changes, or a version.
func TestFillThenWork(t *testing.T) {
	t.Parallel()
	schema := schemaOf(arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String)
	const rows = 60_000
	recs := make([]arrow.Record, 3)
	for i := range recs {
		part := make([][]any, rows/len(recs))
		for j := range part {
			part[j] = []any{i*len(part) + j, j % 100, "text"[:j%5]}
		}
		recs[i] = record(t, schema, part...)
	}
	for name, next := range map[string]func(s *Store){
		"look-up": func(s *Store) {},
		"batch":   func(s *Store) { commit(s, func() { put(t, s, []any{rows, 1, "new"}) }) },
		"expiry":  func(s *Store) { commit(s, func() { require.Empty(t, s.Expire(-1)) }) },
		"changes": func(s *Store) {
			require.NoError(t, s.Restore(false, []arrow.Record{record(t, schema, []any{rows, 1, "new"})}, nil))
		},
		"version": func(s *Store) {
			f := s.Freeze(true)
			defer f.Close()
			changed, _, _ := frozen(f)
			require.Len(t, texts(t, changed), rows)
		},
		"rollback": func(s *Store) {
			s.Begin()
			put(t, s, []any{1, 1, "other"}, []any{rows, 1, "new"})
			s.Rollback()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, Options{Schema: schema, Keys: 1, Time: "c1"})
			commit(s, func() { put(t, s, []any{-1, 1, "of before"}) })
			require.NoError(t, s.Restore(true, nil, nil))
			for _, rec := range recs {
				require.NoError(t, s.Fill(rec))
			}
			counted := s.Bytes()
			next(s)
			var found []string
			for _, rec := range recs {
				known, err := s.Lookup(rec)
				require.NoError(t, err)
				found = append(found, texts(t, known)...)
			}
			require.Equal(t, slices.Concat(texts(t, recs[:1]), texts(t, recs[1:2]), texts(t, recs[2:])), found)
			require.Nil(t, s.unindexed)
			require.Greater(t, counted, int64(8*rows), "cells that are not in a table yet count")
			checkAccounts(t, s)
			commit(s, func() {
				n, err := s.Delete(recs[1])
				require.NoError(t, err)
				require.Equal(t, rows/len(recs), n)
			})
			checkAccounts(t, s)
		})
	}
}
