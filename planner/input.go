package planner

import (
	"fmt"
	"time"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// Input says how the rows of one source enter a batch.
type Input struct {
	Table     string            // the temporary table of the batch's rows, with __pos
	Select    string            // select list over the columns that are read and __pos
	Computes  bool              // whether Select has computed columns that the source declares
	EventTime string            // the column with the watermark, or ""
	DropsNull bool              // every reader drops rows without event time, which are counted as null_time
	Declared  []stream.Column   // the columns that are not computed and are read, in order: what Records must have
	Unread    []string          // those that are not computed and that nothing reads: Records may have them or not
	Passed    bool              // Select leaves a column out that nothing reads but what it computes of it: what names that can not be run over Select
	Lent      bool              // no table is made unless rows must leave it: the one statement that reads them is lent them
	MaxAhead  time.Duration     // 0: none
	Columns   map[string]string // every column's DuckDB type

	steps []string // the columns that are not computed, and the hoisted ones: see Lent; nil if there are none of these
}

// EarliestTime is the least event time that windows can be computed for, in microseconds; its negative is the
// greatest. It is about 146,000 years before 1970.
const EarliestTime = -(int64(1) << 62)

// possible is the condition for event times that source number i may have.
func (in *Input) possible(i int) string {
	return fmt.Sprintf("%s BETWEEN make_timestamp(%d) AND make_timestamp(%s)", duck.QuoteIdent(in.EventTime), EarliestTime,
		getVariable(VarLatest(i)))
}

// TimesSQL asks for the number of rows without event time and with an impossible one, and for the greatest possible
// one. Times of declared columns are looked at as they are decoded, without a statement.
func (in *Input) TimesSQL(i int) string {
	col, good := duck.QuoteIdent(in.EventTime), in.possible(i)
	return fmt.Sprintf("SELECT count(*) FILTER (WHERE %s IS NULL), count(*) FILTER (WHERE NOT (%s)), "+
		"epoch_us(max(%s) FILTER (WHERE %s)) FROM %s", col, good, col, good, duck.QuoteIdent(in.Table))
}

// ImpossibleSQL names the rows with impossible event times.
func (in *Input) ImpossibleSQL(i int) string {
	return fmt.Sprintf("SELECT %s, CAST(%s AS VARCHAR) FROM %s WHERE NOT (%s) ORDER BY %s",
		PosColumn, duck.QuoteIdent(in.EventTime), duck.QuoteIdent(in.Table), in.possible(i), PosColumn)
}

// RemoveImpossibleSQL takes them out.
func (in *Input) RemoveImpossibleSQL(i int) string {
	return "DELETE FROM " + duck.QuoteIdent(in.Table) + " WHERE NOT (" + in.possible(i) + ")"
}

// computedTime reports whether the event time is a computed column.
func (in *Input) computedTime() bool {
	for _, c := range in.Declared {
		if c.Name == in.EventTime {
			return false
		}
	}
	return in.EventTime != ""
}

// BeforeSQL takes rows before a time out, which a run over a stretch of time does not want.
func (in *Input) BeforeSQL(micros string) string { return in.boundSQL("<", micros) }

// NotBeforeSQL takes rows at and after a time out.
func (in *Input) NotBeforeSQL(micros string) string { return in.boundSQL(">=", micros) }

func (in *Input) boundSQL(op, micros string) string {
	return fmt.Sprintf("DELETE FROM %s WHERE %s %s make_timestamp(%s)", duck.QuoteIdent(in.Table),
		duck.QuoteIdent(in.EventTime), op, micros)
}
