package file

import (
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

// TestColumnsAreLeftInTheFile asks for rows without the unread columns, of which the files must still have the types, but
// not good values.
func TestColumnsAreLeftInTheFile(t *testing.T) {
	t.Parallel()
	number, text := arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String
	small := stream.Column{Name: "small", Type: "BIGINT", Arrow: number}
	for name, c := range map[string]struct {
		unread stream.Column
		data   string
		reason string
	}{
		"good":       {unread: stream.Column{Name: "note", Type: "VARCHAR", Arrow: text}},
		"absent":     {unread: stream.Column{Name: "other", Type: "VARCHAR", Arrow: text}},
		"metadata":   {unread: stream.Column{Name: "file", Type: "VARCHAR", Arrow: text, Metadata: true}},
		"nested":     {unread: stream.Column{Name: "tags", Type: "VARCHAR[]", Arrow: arrow.ListOf(text)}},
		"other type": {unread: stream.Column{Name: "note", Type: "BIGINT[]", Arrow: arrow.ListOf(number)}, reason: `column "note" is utf8 in the file and declared as BIGINT[]`},
		"not nested": {unread: stream.Column{Name: "tags", Type: "BIGINT", Arrow: number}, reason: `column "tags" is list`},
		"bad values": {unread: stream.Column{Name: "note", Type: "VARCHAR", Arrow: text},
			data: strings.Replace(parquetFile(t, 1, 2), "\x01\x00\x00\x00n", "\x01\x00\x00\x00\xff", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, formatParquet)
			f.columns = []stream.Column{c.unread, small}
			f.put(t, "a.parquet", parquetFile(t, 7))
			if c.data == "" {
				c.data = parquetFile(t, 1, 2)
			}
			f.put(t, "b.parquet", c.data)
			s := f.open(t).(*source)
			whole, r := all(t, s)
			defer whole.Release()
			in, err := s.ReadWithout(t.Context(), r, []string{c.unread.Name})
			require.NoError(t, err)
			defer in.Release()
			if c.reason != "" {
				require.Nil(t, in.Rows)
				require.Contains(t, in.Broken.Reasons[0], c.reason)
				require.Equal(t, whole.Broken, in.Broken)
				return
			}
			require.Nil(t, in.Broken)
			require.Len(t, in.Rows, 2)
			require.Equal(t, []string{"small"}, []string{in.Rows[1].ColumnName(0)})
			require.EqualValues(t, 1, in.Rows[1].NumCols())
			require.EqualValues(t, 2, in.Rows[1].NumRows())
			require.Equal(t, whole.Parts[0], in.Parts[0])
			if name == "bad values" {
				require.Len(t, whole.Broken.Reasons, 1)
				return
			}
			require.Equal(t, whole.CRC, in.CRC)
			require.Equal(t, whole.Parts, in.Parts)
		})
	}
}
