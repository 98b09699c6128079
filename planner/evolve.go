package planner

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/stream"
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
	return append(slices.DeleteFunc(p.Layout(), func(line string) bool { return holds[line] }), p.windows()...)
}

// StateHash returns a fingerprint of the statements that decide which rows the state tables hold. Together with
// SameColumns it says whether two plans leave the same state.
func (p *Plan) StateHash() string {
	if !p.keeps() {
		return ""
	}
	var b strings.Builder
	for _, op := range p.Ops {
		fmt.Fprintf(&b, "%s %v\n", op.Name, op.Global)
		for _, t := range op.Tables {
			fmt.Fprintf(&b, "%s (%s) by %v until %s + %d\n", t.Name, t.Definition(), t.Keys, t.Time, t.Ahead)
		}
		for _, s := range op.Steps {
			fmt.Fprintf(&b, "%d %s %s %s %v\n", s.Effect, s.Table, s.State, s.SQL, s.Merges)
			if s.Order != nil {
				fmt.Fprintf(&b, "by %v\n", s.Order)
			}
			if s.Entry != nil {
				fmt.Fprintf(&b, "late %s\n", s.Entry.Late)
			}
		}
	}
	for _, m := range p.Macros {
		fmt.Fprintln(&b, m.Text)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:16])
}

// keeps reports whether a batch finds what the ones before it have left.
func (p *Plan) keeps() bool { return p.Stateful() && !p.SlotBound }

// SameColumns reports whether the columns of the sources mean in next what they mean in p. Columns may be added: what
// reads them is a changed statement.
func (p *Plan) SameColumns(next *Plan) bool {
	is := map[string]Column{}
	for _, s := range next.Sources {
		for _, c := range s.Columns {
			is[s.Name+"\x00"+c.Name] = c
		}
	}
	for _, s := range p.Sources {
		for _, c := range s.Columns {
			n, there := is[s.Name+"\x00"+c.Name]
			if !there || n.Type != c.Type || n.Expr != c.Expr || n.Metadata != c.Metadata {
				return false
			}
		}
	}
	return true
}

// LateLeavesNoTrace reports that a row which is late changes no state whether it is dropped or used: one operator keeps
// everything by its own key, and what is late for it is what the watermark has freed. Behind a join, or another operator,
// a late row would have met rows that are still there.
func (p *Plan) LateLeavesNoTrace() bool {
	if len(p.Ops) != 1 || p.Mode != stream.Append {
		return len(p.Ops) == 0
	}
	name := p.Ops[0].Name
	if !strings.HasPrefix(name, "aggregate ") && !strings.HasPrefix(name, "distinct ") {
		return false
	}
	for _, t := range p.StateTables() {
		if t.Closes == "" {
			return false
		}
	}
	return true
}

// windows describes the windows that rows are put into, and what event time is.
func (p *Plan) windows() []string {
	var lines []string
	var visit func(n *Node)
	visit = func(n *Node) {
		if n == nil {
			return
		}
		for _, kind := range []string{"tumble ", "hop ", "session "} {
			if strings.HasPrefix(n.Op, kind) {
				lines = append(lines, n.Op)
			}
		}
		for _, below := range n.Below {
			visit(below)
		}
	}
	visit(p.Root)
	for _, s := range p.Sources {
		for _, c := range s.Columns {
			if s.Watermark != nil && s.Watermark.Column == c.Name {
				lines = append(lines, fmt.Sprintf("source %s: event time %s = %s", s.Name, c.Type, c.Expr))
			}
		}
	}
	return lines
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
