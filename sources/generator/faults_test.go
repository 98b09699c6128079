package generator

import (
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

func TestAllFaultsOfFieldsShow(t *testing.T) {
	t.Parallel()
	text := "nothing, id: nope(), n: seq(), n: seq(), x: 7, zz: seq(), yy: int(1..2), subject: seq()"
	_, err := open(config(options(0, 0, text), clock.NewManual(time.Unix(1e9, 0))))
	want := []string{`"nothing" is not of the form`, `column "n" stands twice`, `column "x": "7" is not of the form`,
		`column "id": there is no kind nope()`, `column "subject": it is METADATA`, `the column "yy"`, `the column "zz"`}
	faults := diag.All(err)
	require.Len(t, faults, len(want), "%v", err)
	for i, f := range faults {
		require.Equal(t, "fields", f.Option)
		require.Contains(t, f.Message, want[i])
	}
}

// TestUnknownTypesHaveNoFaultOfTheirOwn opens a source of which lint has told that the type of a column can not be read.
func TestUnknownTypesHaveNoFaultOfTheirOwn(t *testing.T) {
	t.Parallel()
	_, err := open(stream.SourceConfig{Name: "src", Options: stream.Options{"fields": "k: pick(a|b)"},
		Columns: []stream.Column{{Name: "k", Type: "VARCHAR", Arrow: arrow.BinaryTypes.String}, {Name: "v", Type: `"NULL"`, Arrow: arrow.Null}}})
	require.NoError(t, err)
}
