package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// Shape is what a query's checkpoint depends on, as meta.json stores it.
type Shape struct {
	Layout      []string // what must stay the same while the checkpoint lives, one stable line each
	Fingerprint string   // what a batch does: the plan, and where its result goes
}

// ShapeOf returns the shape of a planned query of app.
func ShapeOf(reg stream.Registry, app *planner.App, def *planner.Query, plan *planner.Plan) Shape {
	s := Shape{Layout: plan.Layout()}
	for _, src := range plan.Sources {
		s.Layout = append(s.Layout, sourceLayout(reg, src)...)
	}
	sum := sha256.New()
	fmt.Fprintln(sum, plan.Hash())
	for _, name := range def.Sinks {
		if sink := findSink(app, name); sink != nil {
			fmt.Fprintf(sum, "sink %s: connector %s%s\n", sink.Name, sink.Connector,
				fixed(reg.Sinks[sink.Connector].Spec.Fields, sink.Options))
		}
	}
	for _, src := range plan.Sources {
		if subject := src.Options.String("dead_letter_subject"); subject != "" {
			fmt.Fprintf(sum, "dead letters of %s: %s\n", src.Name, subject)
		}
	}
	s.Fingerprint = hex.EncodeToString(sum.Sum(nil)[:16])
	return s
}

// StoredShape returns the shape that a checkpoint was written with last.
func StoredShape(m checkpoint.Meta) Shape { return Shape{Layout: m.Layout, Fingerprint: m.Plan} }

// Effect says what a changed text does at the next start of its query.
type Effect string

// The effects.
const (
	Unchanged  Effect = "unchanged"  // every batch does what it did
	Compatible Effect = "compatible" // takes effect at the next batch boundary, on the state as it is
	Refused    Effect = "refused"    // PLAN_CHANGED: the state or the sources' positions would not fit
)

// Change is the difference of two shapes of one query.
type Change struct {
	Effect Effect
	Lines  []string // of Refused: the lines of the layout that differ, "was  …" and "is   …"
}

// Compare says whether a query may go on from the checkpoint of another shape. Open decides by it.
func Compare(was, is Shape) Change {
	if lines := checkpoint.DiffLayout(was.Layout, is.Layout); len(lines) > 0 {
		return Change{Effect: Refused, Lines: lines}
	}
	if was.Fingerprint == is.Fingerprint {
		return Change{Effect: Unchanged}
	}
	return Change{Effect: Compatible}
}
