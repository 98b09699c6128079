package planner

import (
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
)

// The session variables that per-batch SQL reads. Bodies may read only the slot ones themselves.
const (
	VarNow       = "batch_time"     // TIMESTAMPTZ, what now() means in this batch
	VarToday     = "batch_date"     // DATE of it
	VarBatch     = "batch"          // BIGINT, the batch's number
	VarWatermark = "watermark"      // TIMESTAMP, evicts and emits; -infinity when unknown
	VarLate      = "late_watermark" // TIMESTAMP, drops late rows; -infinity when unknown
	VarSlotStart = "slot_start"     // TIMESTAMP
	VarSlotEnd   = "slot_end"       // TIMESTAMP
)

// PosColumn is the hidden column that orders rows: batch << 31 | ordinal within the batch's input.
const PosColumn = "__pos"

// clocks are the functions whose value is the batch's logged time, with the variable that stands for them.
func clocks() map[string]string {
	return map[string]string{
		"now": VarNow, "get_current_timestamp": VarNow, "transaction_timestamp": VarNow,
		"current_timestamp": VarNow, "today": VarToday, "current_date": VarToday,
	}
}

// refused says why a function can not stand in a body. The catalogue's own notion of volatility is added to
// it,
// but can not replace it: it calls one-argument age and current_setting consistent.
func refused() map[string]string {
	const (
		random = "gives another value each time it is called"
		clock  = "reads the clock in a way that can not be pinned to the batch"
		state  = "reads or changes the state of the database"
		world  = "reaches outside the query"
	)
	return map[string]string{
		"random": random, "uuid": random, "gen_random_uuid": random, "setseed": random,
		"localtimestamp": clock, "localtime": clock, "current_time": clock, "get_current_time": clock,
		"current_localtime": clock, "current_localtimestamp": clock, "clock_timestamp": clock,
		"nextval": state, "currval": state, "txid_current": state, "current_setting": state,
		"current_query": state, "current_schema": state, "current_schemas": state, "current_database": state,
		"current_catalog": state, "in_search_path": state, "version": state, "stats": state,
		"current_user": state, "session_user": state, "user": state,
		"getenv": world, "write_log": world, "read_text": world, "read_blob": world, "query": world,
		"query_table": world, "glob": world,
	}
}

func text(v any) string {
	s, ok := v.(string)
	if !ok {
		return ""
	}
	return s
}

// checkFunctions refuses functions that can not stand in a body and pins clocks, in place, everywhere below v. Names in
// columns hide functions that are written without parentheses, such as current_date.
func (c *compiler) checkFunctions(v any) error {
	var first error
	fail := func(t tree, name, why, fix string) {
		if first == nil {
			first = c.errAt(diag.FunctionRefused, t, "function %q can not be used here: it %s", name, why).
				WithHint("%s", fix)
		}
	}
	clock, bad := clocks(), refused()
	rewrite(v, func(t tree) (any, bool) {
		name := t.function()
		switch {
		case t.class() == "COLUMN_REF":
			name = c.keyword(t)
			if names := t.names("column_names"); strings.EqualFold(names[len(names)-1], "rowid") &&
				!c.columnNames["rowid"] && first == nil {
				first = c.errAt(diag.FunctionRefused, t, "rowid is another number each time a row is read").
					WithHint("give the source a column that numbers its rows")
			}
		case t.class() == "PARAMETER" && first == nil:
			first = c.errAt(diag.SQLInvalid, t, "a query has no parameters").WithHint("write the value itself")
		}
		if name == "" {
			return nil, false
		}
		switch {
		case clock[name] != "" && len(t.list("children")) == 0:
			c.usesNow = true
			return variable(clock[name], t), true
		case name == "age" && len(t.list("children")) == 1:
			c.usesNow = true
			from := t.list("children")[0]
			if err := c.checkFunctions(from); err != nil && first == nil {
				first = err
			}
			now := variable(VarNow, t)
			now["alias"] = ""
			t["children"] = []any{cast(now, "TIMESTAMP"), from}
			return t, true
		case name == "getvariable":
			c.checkVariable(t, fail)
		case strings.HasPrefix(name, "__"):
			fail(t, name, "has a reserved name, as all that begin with \"__\"", "use tumble(), hop() or time_bucket()")
		case bad[name] != "" || c.cat.volatile[name]:
			why := bad[name]
			if why == "" {
				why = "does not give the same value when a batch runs again"
			}
			fail(t, name, why,
				"compute it before the row enters the source, or use now(), which is the batch's logged time")
		}
		return nil, false
	})
	return first
}

// keyword returns the name of a function that is called without parentheses, or "". A column of that name
// hides it.
func (c *compiler) keyword(t tree) string {
	names := t.names("column_names")
	if len(names) != 1 {
		return ""
	}
	switch name := strings.ToLower(names[0]); name {
	case "current_date", "current_timestamp", "current_time", "localtime", "localtimestamp", "current_user",
		"session_user", "current_catalog", "current_schema":
		if !c.columnNames[name] {
			return name
		}
	}
	return ""
}

func (c *compiler) checkVariable(t tree, fail func(t tree, name, why, fix string)) {
	kids := t.trees("children")
	name := ""
	if len(kids) == 1 {
		name = strings.ToLower(constantText(kids[0]))
	}
	switch name {
	case VarSlotStart, VarSlotEnd:
		c.slotBound = true
	default:
		fail(t, "getvariable", "reads a variable that is set outside the query",
			"only getvariable('slot_start') and getvariable('slot_end') have a value in a query")
	}
}

// constantText returns the text of a VARCHAR constant, or "".
func constantText(t tree) string {
	if t.class() != "CONSTANT" {
		return ""
	}
	return text(t.sub("value")["value"])
}

func variable(name string, at tree) tree {
	arg := tree{"class": "CONSTANT", "type": "VALUE_CONSTANT", "alias": "", "query_location": synthetic,
		"value": tree{"type": tree{"id": "VARCHAR", "type_info": nil}, "is_null": false, "value": name}}
	return call("getvariable", at.str("alias"), arg)
}

func call(name, alias string, args ...any) tree {
	if args == nil {
		args = []any{}
	}
	return tree{"class": "FUNCTION", "type": "FUNCTION", "alias": alias, "query_location": synthetic,
		"function_name": name, "schema": "", "children": args, "filter": nil,
		"order_bys": tree{"type": "ORDER_MODIFIER",
			"orders": []any{}}, "distinct": false, "is_operator": false,
		"export_state": false, "catalog": ""}
}

func cast(child tree, duckType string) tree {
	return tree{"class": "CAST", "type": "OPERATOR_CAST", "alias": "", "query_location": synthetic,
		"child":     child,
		"cast_type": tree{"id": duckType, "type_info": nil}, "try_cast": false}
}
