package planner

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// What a changed text of a query may do to a checkpoint goes by three readings of its plan: Layout, which the stored
// state fits or does not; StateHash, which says whether the rows in it would be the same; and Rigid, which even state
// that is made anew from history must share with the old one.

// Rigid returns the lines of Layout that must stay the same even where the state is built anew: which operators there
// are, how they are keyed, and what frees their rows. What the rows hold beside their keys may change.
func (p *Plan) Rigid() []string {
	holds := map[string]bool{}
	for _, op := range p.Ops {
		for _, line := range op.Holds {
			holds[line] = true
		}
	}
	return slices.DeleteFunc(p.Layout(), func(line string) bool { return holds[line] })
}

// StateHash returns a fingerprint of everything that decides which rows the state tables hold: the statements that move
// them, and the source columns, macros and times that these read. Plans with one hash leave the same state.
func (p *Plan) StateHash() string {
	var b strings.Builder
	for _, op := range p.Ops {
		fmt.Fprintf(&b, "%s %v\n", op.Name, op.Global)
		for _, t := range op.Tables {
			fmt.Fprintf(&b, "%s (%s) by %v until %s + %d\n", t.Name, t.Definition(), t.Keys, t.Time, t.Ahead)
		}
		for _, s := range op.Steps {
			fmt.Fprintf(&b, "%d %s %s %s %v\n", s.Effect, s.Table, s.State, s.SQL, s.Merges)
			if s.Entry != nil {
				fmt.Fprintf(&b, "late %s\n", s.Entry.Late)
			}
		}
	}
	for _, m := range p.Macros {
		fmt.Fprintln(&b, m.Text)
	}
	statements := strings.ToLower(b.String())
	for _, s := range p.Sources {
		for _, c := range s.Columns {
			timed := s.Watermark != nil && s.Watermark.Column == c.Name
			if timed || strings.Contains(statements, strings.ToLower(c.Name)) {
				fmt.Fprintf(&b, "column %s.%s %s = %s\n", s.Name, c.Name, c.Type, c.Expr)
			}
		}
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:16])
}

// FreedByTime reports that the watermark frees every row of the state, so that nothing in it goes back to rows of times
// that are closed.
func (p *Plan) FreedByTime() bool {
	for _, t := range p.StateTables() {
		if t.Closes == "" {
			return false
		}
	}
	return true
}

// KeyNames returns the columns that name a row in update mode, each "name TYPE"; nil if rows are only added.
func (p *Plan) KeyNames() []string {
	if p.Keys == nil {
		return nil
	}
	names := make([]string, len(p.Keys))
	for i, k := range p.Keys {
		names[i] = p.Schema[k].Name + " " + p.Schema[k].Type
	}
	return names
}
