package keyed

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

// leadTypes are those that rows can be put in order by.
func leadTypes() []arrow.DataType {
	var types []arrow.DataType
	for _, t := range allTypes() {
		switch t.ID() {
		case arrow.INTERVAL_MONTH_DAY_NANO, arrow.LIST, arrow.FIXED_SIZE_LIST, arrow.STRUCT, arrow.MAP, arrow.LARGE_STRING,
			arrow.LARGE_BINARY:
		default:
			types = append(types, t)
		}
	}
	return types
}

// unorderedTypes lie before the texts of a row, which are found behind them.
func unorderedTypes() []arrow.DataType {
	number, text := arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String
	return []arrow.DataType{arrow.ListOfField(nullable(number)), arrow.FixedSizeListOfField(2, nullable(number)),
		arrow.ListOfField(nullable(arrow.StructOf(arrow.Field{Name: "a", Type: text, Nullable: true}))), arrow.MapOf(text, text)}
}

// leadRecord has two key columns, a column of each of unorderedTypes and leadTypes, and one that numbers the rows.
func leadRecord(schema *arrow.Schema, from, rows int, rng *rand.Rand) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	last := len(schema.Fields()) - 1
	for r := range rows {
		b.Field(0).(*array.StringBuilder).Append(strings.Repeat("key", rng.IntN(3)) + fmt.Sprint(rng.IntN(10)))
		for _, f := range b.Fields()[1:last] {
			// DuckDB's sort takes "a" and "a\x00" for alike, or not, by how long other texts are: none has a NUL here.
			texts := []string{"", "a", "aa", "b", "é", strings.Repeat("long ", 30), strings.Repeat("long ", 30) + "a"}
			switch f := f.(type) {
			case *array.StringBuilder:
				appendText(f.Append, f.AppendNull, pick(rng.IntN, texts...), rng)
			case *array.BinaryBuilder:
				appendText(func(s string) { f.Append([]byte(s)) }, f.AppendNull, pick(rng.IntN, texts...), rng)
			default:
				appendRandom(f, rng.IntN)
			}
		}
		b.Field(last).(*array.Int64Builder).Append(int64(from + r))
	}
	return b.NewRecord()
}

func appendText(value func(string), null func(), text string, rng *rand.Rand) {
	if rng.IntN(6) == 0 {
		null()
		return
	}
	value(text)
}

// TestLeadKeepsWhatDuckDBRanksFirst keeps rows of batches, some of which roll back, by random orders, and compares with
// one rank over all rows.
func TestLeadKeepsWhatDuckDBRanksFirst(t *testing.T) {
	t.Parallel()
	types := append([]arrow.DataType{arrow.BinaryTypes.String, arrow.PrimitiveTypes.Float64}, unorderedTypes()...)
	types = append(append(types, leadTypes()...), arrow.PrimitiveTypes.Int64)
	schema, last := schemaOf(types...), len(types)-1
	c := openDuck(t)
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		by, orders := randomOrder(rng, last)
		s := open(t, Options{Schema: schema, Keys: 2})
		var recs []arrow.Record
		for batch := range 6 {
			rec := leadRecord(schema, batch*1000, 1+rng.IntN(200), rng)
			s.Begin()
			before := texts(t, all(s))
			leadParts(t, s, rec, by)
			if rng.IntN(4) == 0 {
				s.Rollback()
				require.Equal(t, before, texts(t, all(s)))
				continue
			}
			s.Commit()
			checkAccounts(t, s)
			recs = append(recs, rec)
		}
		if recs == nil {
			continue
		}
		require.NoError(t, c.Import(t.Context(), "came", "", recs, schema))
		want, err := c.Select(t.Context(), "FROM came QUALIFY row_number() OVER (PARTITION BY c0, c1 ORDER BY "+orders+") = 1")
		require.NoError(t, err)
		require.ElementsMatch(t, texts(t, want.Records), texts(t, all(s)), "seed %d, ORDER BY %s", seed, orders)
	}
}

// leadParts gives a record to Lead in two parts, and checks what is told of the rows that it put.
func leadParts(t *testing.T, s *Store, rec arrow.Record, by []Order) {
	t.Helper()
	before := map[string]bool{}
	for _, row := range texts(t, all(s)) {
		before[row] = true
	}
	touched, half := 0, rec.NumRows()/2
	for _, part := range []arrow.Record{rec.NewSlice(0, half), rec.NewSlice(half, rec.NumRows())} {
		n, err := s.Lead(part, by)
		require.NoError(t, err)
		touched += n
	}
	var changed []string
	for _, row := range texts(t, all(s)) {
		if !before[row] {
			changed = append(changed, row)
		}
	}
	last := int(rec.NumCols()) - 1
	given := s.TouchedBy(last)
	require.ElementsMatch(t, changed, texts(t, given))
	require.Len(t, changed, touched)
	var numbers []int64
	for _, r := range given {
		numbers = append(numbers, r.Column(last).(*array.Int64).Int64Values()...)
	}
	require.True(t, slices.IsSorted(numbers))
}

func TestLeadRefusesWhatHasNoOrder(t *testing.T) {
	t.Parallel()
	for _, typ := range []arrow.DataType{arrow.FixedWidthTypes.MonthDayNanoInterval,
		arrow.ListOfField(nullable(arrow.PrimitiveTypes.Int64))} {
		schema := schemaOf(arrow.PrimitiveTypes.Int64, typ)
		s := open(t, Options{Schema: schema, Keys: 1})
		s.Begin()
		_, err := s.Lead(randomRecord(schema, 1, rand.New(rand.NewPCG(1, 1)).IntN), []Order{{Column: 1}})
		require.Error(t, err, typ)
		s.Rollback()
	}
}

// randomOrder is an order that ends in the row's number.
func randomOrder(rng *rand.Rand, last int) (by []Order, sql string) {
	for range rng.IntN(4) {
		column := rng.IntN(last - len(unorderedTypes()))
		if column >= 2 { // behind the key
			column += len(unorderedTypes())
		}
		o := Order{Column: column, Descending: rng.IntN(2) == 0, NullsFirst: rng.IntN(2) == 0}
		by = append(by, o)
		sql += fmt.Sprintf("c%d %s NULLS %s, ", o.Column, []string{"ASC", "DESC"}[boolInt(o.Descending)],
			[]string{"LAST", "FIRST"}[boolInt(o.NullsFirst)])
	}
	return append(by, Order{Column: last}), sql + fmt.Sprintf("c%d", last)
}
