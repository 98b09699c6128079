package keyed

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
)

// foldCase is a way to merge, with a type and the aggregate of DuckDB.
type foldCase struct {
	typ       arrow.DataType
	how       Merge
	aggregate string
}

func foldCases() []foldCase {
	cases := []foldCase{{arrow.PrimitiveTypes.Int64, Sum, "CAST(sum(%s) AS BIGINT)"},
		{&arrow.Decimal128Type{Precision: 38}, SumDigits, "CAST(sum(%s) AS DECIMAL(38,0))"},
		{&arrow.Decimal128Type{Precision: 38, Scale: 2}, Sum, "CAST(sum(%s) AS DECIMAL(38,2))"}}
	ints := []arrow.DataType{arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32,
		arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32,
		arrow.PrimitiveTypes.Uint64}
	for _, t := range append(ints, arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Time64us,
		&arrow.TimestampType{Unit: arrow.Microsecond}, &arrow.Decimal128Type{Precision: 38},
		&arrow.Decimal128Type{Precision: 9, Scale: 2}, arrow.FixedWidthTypes.Boolean) {
		cases = append(cases, foldCase{t, Least, "min(%s)"}, foldCase{t, Greatest, "max(%s)"})
	}
	cases = append(cases, foldCase{arrow.FixedWidthTypes.Boolean, Least, "bool_and(%s)"},
		foldCase{arrow.FixedWidthTypes.Boolean, Greatest, "bool_or(%s)"})
	for _, t := range ints {
		cases = append(cases, foldCase{t, BitAnd, "bit_and(%s)"}, foldCase{t, BitOr, "bit_or(%s)"},
			foldCase{t, BitXor, "bit_xor(%s)"})
	}
	return cases
}

// foldRecord has keys of which some are often the same, and values with NULL and the ends of their types.
func foldRecord(schema *arrow.Schema, how []Merge, rows int, rng *rand.Rand) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for range rows {
		b.Field(0).(*array.StringBuilder).Append(strings.Repeat("key", rng.IntN(3)) + fmt.Sprint(rng.IntN(40)))
		for i, f := range b.Fields()[1:] {
			switch f := f.(type) {
			case *array.Int64Builder:
				if how[i] == Sum {
					f.Append(rng.Int64N(1<<50) - 1<<49)
					continue
				}
			case *array.Decimal128Builder:
				if how[i] != Least && how[i] != Greatest && rng.IntN(4) > 0 {
					f.Append(decimal128.New(rng.Int64N(1<<50)-1<<49, rng.Uint64()))
					continue
				}
			}
			appendRandom(f, rng.IntN)
		}
	}
	return b.NewRecord()
}

// TestFoldMergesAsDuckDB folds batches, of which some roll back, and compares with one aggregate over all rows.
func TestFoldMergesAsDuckDB(t *testing.T) {
	t.Parallel()
	types, how, items := []arrow.DataType{arrow.BinaryTypes.String}, []Merge{}, []string{"c0"}
	for i, f := range foldCases() {
		types, how = append(types, f.typ), append(how, f.how)
		items = append(items, fmt.Sprintf(f.aggregate, fmt.Sprintf("c%d", i+1)))
	}
	schema := schemaOf(types...)
	s := open(t, Options{Schema: schema, Keys: 1})
	c := openDuck(t)
	rng := rand.New(rand.NewPCG(3, 4))
	for b := range 12 {
		rec := foldRecord(schema, how, 150, rng)
		s.Begin()
		touched := 0
		for _, part := range []arrow.Record{rec.NewSlice(0, 70), rec.NewSlice(70, 150)} {
			n, err := s.Fold(part, how)
			require.NoError(t, err)
			touched += n
		}
		seen := map[string]bool{}
		for _, k := range texts(t, []arrow.Record{rec}) {
			seen[k[:strings.IndexByte(k, '|')]] = true
		}
		require.Equal(t, len(seen), touched)
		var shown int64
		for _, r := range s.Touched() {
			shown += r.NumRows()
		}
		require.Equal(t, int64(touched), shown)
		if b%3 == 1 {
			s.Rollback()
			continue
		}
		s.Commit()
		require.NoError(t, c.Import(t.Context(), "batch", "", []arrow.Record{rec}, schema))
		sql := "CREATE TABLE seen AS FROM batch"
		if b > 0 {
			sql = "INSERT INTO seen FROM batch"
		}
		_, err := c.Exec(t.Context(), sql)
		require.NoError(t, err)
		want, err := c.Select(t.Context(), "SELECT "+strings.Join(items, ", ")+" FROM seen GROUP BY c0")
		require.NoError(t, err)
		require.ElementsMatch(t, texts(t, want.Records), texts(t, all(s)))
		checkAccounts(t, s)
	}
}

// TestFoldLeavesTheRangeAsDuckDBDoes adds at the ends of the types.
func TestFoldLeavesTheRangeAsDuckDBDoes(t *testing.T) {
	t.Parallel()
	c := openDuck(t)
	digits := "99999999999999999999999999999999999999"
	for _, f := range []struct {
		typ      arrow.DataType
		how      Merge
		duck     string
		cast     string
		from, to []string
	}{
		{arrow.PrimitiveTypes.Int64, Sum, "BIGINT", "BIGINT", []string{"9223372036854775807", "-9223372036854775808", "0"},
			[]string{"1", "-1", "0", "9223372036854775807", "-9223372036854775808"}},
		{&arrow.Decimal128Type{Precision: 38}, SumDigits, "HUGEINT", "DECIMAL(38,0)",
			[]string{digits, "-" + digits, "99999999999999999999999999999999999998", "0"}, []string{"1", "-1", "2", "-2", digits, "-" + digits}},
		{&arrow.Decimal128Type{Precision: 38}, Sum, "DECIMAL(38,0)", "DECIMAL(38,0)", []string{digits, "-" + digits},
			[]string{"1", "-1", "70141183460469231731687303715884105728", "70141183460469231731687303715884105729",
				"-70141183460469231731687303715884105729", "-70141183460469231731687303715884105730", digits, "-" + digits}},
	} {
		schema := schemaOf(arrow.PrimitiveTypes.Int64, f.typ)
		for _, from := range f.from {
			for _, to := range f.to {
				s := open(t, Options{Schema: schema, Keys: 1})
				got, err := foldTwo(t, s, []Merge{f.how}, f.typ, from, to)
				want, wantErr := c.Select(t.Context(), fmt.Sprintf("SELECT CAST(sum(x) AS %s) AS s FROM (VALUES (CAST(%s AS %s)), "+
					"(CAST(%s AS %s))) t(x)", f.cast, from, f.duck, to, f.duck))
				var fault *duck.Error
				if errors.As(wantErr, &fault) {
					var e *RangeError
					require.ErrorAs(t, err, &e, "%s + %s", from, to)
					require.Equal(t, fault.Message, e.Message)
					require.Equal(t, fault.Kind == duck.Conversion, e.Cast)
					continue
				}
				require.NoError(t, wantErr)
				require.NoError(t, err, "%s + %s", from, to)
				require.Equal(t, texts(t, want.Records)[0], got)
			}
		}
	}
	require.False(t, beyondDigits(0, math.MaxUint64))
	require.True(t, beyondDigits(math.MinInt64, 0))
}

// foldTwo folds two values of a key in a batch each and returns what they come to.
func foldTwo(t *testing.T, s *Store, how []Merge, typ arrow.DataType, values ...string) (string, error) {
	t.Helper()
	for i, v := range values {
		b := array.NewRecordBuilder(memory.DefaultAllocator, s.Schema())
		b.Field(0).(*array.Int64Builder).Append(7)
		require.NoError(t, b.Field(1).AppendValueFromString(v), typ)
		s.Begin()
		if _, err := s.Fold(b.NewRecord(), how); err != nil {
			require.Equal(t, len(values)-1, i)
			s.Rollback()
			return "", err
		}
		s.Commit()
	}
	rows := texts(t, all(s))
	require.Len(t, rows, 1)
	return rows[0][strings.IndexByte(rows[0], '|')+1:], nil
}

func TestFoldRefusesWhatItCanNotMerge(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		typ arrow.DataType
		how []Merge
	}{{arrow.BinaryTypes.String, []Merge{Least}}, {arrow.PrimitiveTypes.Float64, []Merge{Greatest}},
		{arrow.PrimitiveTypes.Float64, []Merge{Sum}}, {arrow.PrimitiveTypes.Int32, []Merge{Sum}},
		{arrow.FixedWidthTypes.MonthDayNanoInterval, []Merge{Least}}, {arrow.PrimitiveTypes.Int64, []Merge{NoMerge}},
		{arrow.PrimitiveTypes.Int64, nil}, {arrow.FixedWidthTypes.Boolean, []Merge{BitAnd}}} {
		schema := schemaOf(arrow.PrimitiveTypes.Int64, f.typ)
		s := open(t, Options{Schema: schema, Keys: 1})
		rng := rand.New(rand.NewPCG(1, 1))
		s.Begin()
		_, err := s.Fold(randomRecord(schema, 1, rng.IntN), f.how)
		require.Error(t, err, "%s by %v", f.typ, f.how)
		s.Rollback()
	}
}
