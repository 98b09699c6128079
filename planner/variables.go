package planner

import (
	"fmt"
	"regexp"
	"strings"
)

// VarFirst names the session variable with the first position of source number i of the plan in this batch.
func VarFirst(i int) string { return fmt.Sprintf("first_position_%d", i+1) }

// VarLatest names the session variable with the greatest event time, in microseconds, that source number i may have.
func VarLatest(i int) string { return fmt.Sprintf("latest_time_%d", i+1) }

// SetSQL gives a session variable its value of the batch.
func SetSQL(variable, value string) string { return "SET VARIABLE " + variable + " = " + value }

// Variables returns the session variables that a batch sets before it begins where their values have changed, in order.
// Setting one costs a tenth of a millisecond, which counts when batches are tiny: only those that the plan may read.
func (p *Plan) Variables() []string {
	reads := p.readsVariable()
	var list []string
	for _, name := range []string{VarBatch, VarWatermark, VarLate} {
		if reads(name) {
			list = append(list, name)
		}
	}
	for i := range p.Inputs {
		if len(p.Inputs) > 1 || reads(VarFirst(i)) {
			list = append(list, VarFirst(i))
		}
		if p.Inputs[i].computedTime() {
			list = append(list, VarLatest(i))
		}
	}
	if n := len(p.Inputs); n > 1 {
		list = append(list, VarFirst(n))
	}
	if p.UsesNow {
		list = append(list, VarNow, VarToday)
	}
	if p.SlotBound {
		list = append(list, VarSlotStart, VarSlotEnd)
	}
	return list
}

// readsVariable tells which of the variables of every batch the plan's SQL may read.
func (p *Plan) readsVariable() func(name string) bool {
	texts := []string{p.Input, p.Result, p.Before}
	for _, in := range p.Inputs {
		texts = append(texts, in.Select)
	}
	for _, op := range p.Ops {
		for _, st := range op.Steps {
			if st.Effect == Expire {
				continue // its SQL is for people
			}
			texts = append(texts, st.SQL, st.Touch)
			if st.Entry != nil {
				texts = append(texts, st.Entry.Table, st.Entry.Late)
			}
		}
	}
	for _, m := range p.Macros {
		texts = append(texts, m.Text)
	}
	sql := strings.ToLower(strings.Join(texts, "\n"))
	// Written in any other way, such as with a space or a computed name, it may mean any variable.
	literal := regexp.MustCompile(`getvariable\('[a-z0-9_]*'\)`)
	computed := strings.Count(sql, "getvariable") != len(literal.FindAllString(sql, -1))
	return func(name string) bool { return computed || strings.Contains(sql, getVariable(name)) }
}
