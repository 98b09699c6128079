package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// Shape is what a query's checkpoint depends on, as meta.json stores it.
type Shape struct {
	Layout      []string      // what the stored state and the sources' positions fit, one stable line each
	Fingerprint string        // what a batch does: the plan, and where its result goes
	text        string        // what it was planned from
	rigid       []string      // of Layout, what state that is built anew must have too
	plan        *planner.Plan // nil where the text can not be planned any more
}

// ShapeOf returns the shape of a planned query of app.
func ShapeOf(reg stream.Registry, app *planner.App, def *planner.Query, plan *planner.Plan) Shape {
	s := Shape{Layout: plan.Layout(), text: app.Text.Body, rigid: plan.Rigid(), plan: plan}
	for _, src := range plan.Sources {
		lines := sourceLayout(reg, src)
		s.Layout, s.rigid = append(s.Layout, lines...), append(s.rigid, lines...)
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
func StoredShape(m checkpoint.Meta) Shape {
	return Shape{Layout: m.Layout, Fingerprint: m.Plan, text: m.SQL}
}

// WithText returns the shape with what it does not store: the plan of the stored text, as this engine makes it.
func (s Shape) WithText(is Shape) Shape {
	s.rigid, s.plan = is.rigid, is.plan
	return s
}

// Effect says what a changed text does at the next start of its query.
type Effect string

// The effects.
const (
	Unchanged  Effect = "unchanged"  // every batch does what it did
	Compatible Effect = "compatible" // takes effect at the next batch boundary, on the state as it is
	Rebuilt    Effect = "rebuilt"    // the old text goes on until the state has been built anew from the sources' history
	Refused    Effect = "refused"    // PLAN_CHANGED: the state or the sources' positions would not fit
)

// Change is the difference of two shapes of one query.
type Change struct {
	Effect  Effect
	Lines   []string // of Rebuilt and Refused: the lines of the layout that differ, "was  …" and "is   …"
	Reasons []string // of Refused: why the state can not be built anew
}

// Compare says whether a query may go on from the checkpoint of another shape. Open decides by it.
func Compare(was, is Shape) Change {
	lines := checkpoint.DiffLayout(was.Layout, is.Layout)
	switch {
	case len(lines) == 0 && was.sameState(is) && was.Fingerprint == is.Fingerprint:
		return Change{Effect: Unchanged}
	case len(lines) == 0 && was.sameState(is):
		return Change{Effect: Compatible}
	}
	reasons := is.notRebuilt(was)
	if len(reasons) > 0 {
		return Change{Effect: Refused, Lines: lines, Reasons: reasons}
	}
	return Change{Effect: Rebuilt, Lines: lines}
}

// sameState reports that the rows of the state are made of the same things. Both texts are planned by this engine, so
// that an engine which plans otherwise than the one before changes nothing. A text that can not be planned any more is
// the same only to the letter.
func (s Shape) sameState(is Shape) bool {
	if s.Fingerprint == is.Fingerprint || is.plan != nil && is.plan.StateHash() == "" {
		return true // the same plan, or one that keeps nothing
	}
	if s.plan == nil || is.plan == nil {
		return s.text == is.text
	}
	return s.plan.StateHash() == is.plan.StateHash() && s.plan.SameColumns(is.plan)
}

// lostColumns says which columns of a result are not in another, or have another type there: sinks hold rows with them.
func lostColumns(was, is []stream.Column) []string {
	types := make(map[string]string, len(is))
	for _, c := range is {
		types[c.Name] = c.Type
	}
	var lost []string
	for _, c := range was {
		switch typ, there := types[c.Name]; {
		case !there:
			lost = append(lost, fmt.Sprintf("result column %q is gone: columns may be added, and what the sinks hold has it", c.Name))
		case typ != c.Type:
			lost = append(lost, fmt.Sprintf("result column %q was %s, and is %s", c.Name, c.Type, typ))
		}
	}
	return lost
}

// notRebuilt says why history can not give the state that a query would have, had it always had this shape.
func (s Shape) notRebuilt(was Shape) []string {
	if was.plan == nil {
		return []string{"the text in the checkpoint can not be planned any more, so it can not go on while new state is built"}
	}
	if len(checkpoint.DiffLayout(was.rigid, s.rigid)) > 0 {
		return []string{"state is built anew for another filter, column or aggregate, not for other keys, windows, operators, " +
			"sources or another mode"}
	}
	reasons := append(s.plan.NotComparable(), lostColumns(was.plan.Schema, s.plan.Schema)...)
	if s.plan.Mode != stream.Update {
		return reasons
	}
	if s.plan.Unnamed {
		reasons = append(reasons, "no columns of the result name its rows, so those in the sinks can not be told to change")
	}
	if !slices.Equal(was.plan.KeyNames(), s.plan.KeyNames()) {
		reasons = append(reasons, fmt.Sprintf("rows of the result were named by (%s), and are by (%s)",
			strings.Join(was.plan.KeyNames(), ", "), strings.Join(s.plan.KeyNames(), ", ")))
	}
	return reasons
}
