package planner

import (
	"errors"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
)

// bodyFaultsMax bounds the faults that are told of one body.
const bodyFaultsMax = 10

// bindFaults returns the fault of a body that DuckDB does not bind, and the further columns that do not exist: DuckDB
// stops at the first, so NULL takes the place of each that is found. Any other fault behind the first may be no more
// than a consequence of that.
func (c *compiler) bindFaults(first error) error {
	var faults diag.List
	body := c.q.Body
	for err := first; err != nil && len(faults) < bodyFaultsMax; _, err = c.db.Describe(c.ctx, body) {
		var coded *diag.Error
		fault := c.bodyFault(err, c.q.Body, c.q.At)
		if !errors.As(fault, &coded) {
			if faults == nil {
				return fault
			}
			break
		}
		if faults != nil && coded.Code != diag.UnknownColumn {
			break
		}
		faults = append(faults, coded)
		from, to := coded.Span.Start-c.q.At, coded.Span.End-c.q.At
		if coded.Code != diag.UnknownColumn || from < 0 || to > len(body) || from >= to {
			break
		}
		body = body[:from] + nullOf(to-from) + body[to:]
	}
	if len(faults) == 1 {
		return faults[0]
	}
	faults.Sort()
	return faults
}

// nullOf is an expression of so many bytes.
func nullOf(n int) string {
	if n < len("NULL") {
		return strings.Repeat("0", n)
	}
	return "NULL" + strings.Repeat(" ", n-len("NULL"))
}
