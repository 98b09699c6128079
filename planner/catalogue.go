package planner

import (
	"context"
	_ "embed" // for the list of functions
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tidemill/tidemill/internal/invariant"
)

// catalogue knows the aggregates and macros that a plan is made against.
type catalogue struct {
	aggregates map[string]bool
	volatile   map[string]bool
	macros     map[string][]macro // scalar and table macros by lower-case name
}

type macro struct {
	table  bool
	params []string
	body   string
}

// listed is what DuckDB says of one of its functions.
type listed struct {
	Name      string `json:"name"` // in lower case
	Kind      string `json:"kind"` // aggregate, macro, table_macro, scalar
	Stability string `json:"stability,omitempty"`
	Params    string `json:"params,omitempty"` // with commas between them
	Body      string `json:"body,omitempty"`   // of a macro
}

// builtinList is what listFunctions returns of an empty database: the linked DuckDB's own functions. To ask for them would
// be a third of a start. A test compares it with the linked DuckDB.
//
//go:generate go test -count=1 -run TestBuiltinList . -rewrite
//go:embed functions.json
var builtinList []byte

// builtin is the catalogue of these.
var builtin = sync.OnceValue(func() *catalogue { return newCatalogue(nil, builtinFunctions()) }) //nolint:gochecknoglobals // never changes

func builtinFunctions() (list []listed) {
	err := json.Unmarshal(builtinList, &list)
	invariant.Check(err == nil, "functions.json: %v", err)
	return list
}

// catalogueOf returns the catalogue with the macros of an application, which db has already. It must not be changed.
func catalogueOf(ctx context.Context, db Binder, own map[string]bool) (*catalogue, error) {
	if len(own) == 0 {
		return builtin(), nil
	}
	macros, err := listFunctions(ctx, db, false)
	if err != nil {
		return nil, err
	}
	// What is in db besides is of another application, or of our prelude.
	macros = slices.DeleteFunc(macros, func(f listed) bool { return !own[f.Name] })
	return newCatalogue(macros, builtinFunctions()), nil
}

// listFunctions returns DuckDB's functions, or those that have been defined since, which a plan must know: aggregates, macros,
// and functions whose value is not the same each time.
func listFunctions(ctx context.Context, db Binder, internal bool) ([]listed, error) {
	rows, err := db.Rows(ctx, fmt.Sprintf(`SELECT DISTINCT lower(function_name), function_type, coalesce(stability, ''),
		coalesce(array_to_string(parameters, ','), ''), coalesce(macro_definition, '')
		FROM duckdb_functions()
		WHERE coalesce(internal, false) = %t AND (function_type IN ('aggregate', 'macro', 'table_macro')
			OR stability IN ('VOLATILE', 'CONSISTENT_WITHIN_QUERY'))
		ORDER BY ALL`, internal))
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	list := make([]listed, len(rows))
	for i, r := range rows {
		list[i] = listed{Name: text(r[0]), Kind: text(r[1]), Stability: text(r[2]), Params: text(r[3]), Body: text(r[4])}
	}
	return list, nil
}

// newCatalogue makes a catalogue of an application's macros and DuckDB's functions. Of DuckDB's macros only those are in it
// whose bodies must be seen: where they aggregate, make rows, read the clock or query something.
func newCatalogue(own, builtin []listed) *catalogue {
	c := &catalogue{aggregates: map[string]bool{}, volatile: map[string]bool{}, macros: map[string][]macro{}}
	var macros []listed
	for _, f := range builtin {
		switch f.Kind {
		case "aggregate":
			c.aggregates[f.Name] = true
		case "macro", "table_macro":
			macros = append(macros, f)
		default:
			c.volatile[f.Name] = true
		}
	}
	delete(c.volatile, "error") // errors are raised on purpose, and always the same way
	for _, f := range own {
		c.add(f)
	}
	clock, bad := clocks(), refused()
	telling := func(word string) bool {
		return c.aggregates[word] || clock[word] != "" || bad[word] != "" || len(c.macros[word]) > 0 ||
			word == "unnest" || word == "select"
	}
	for left := -1; left != len(macros); { // a macro may call one that matters
		left = len(macros)
		macros = slices.DeleteFunc(macros, func(f listed) bool {
			matters := slices.ContainsFunc(words(f.Body), telling)
			if matters {
				c.add(f)
			}
			return matters
		})
	}
	return c
}

func (c *catalogue) add(f listed) {
	m := macro{table: f.Kind == "table_macro", body: f.Body}
	if f.Params != "" {
		m.params = strings.Split(f.Params, ",")
	}
	c.macros[f.Name] = append(c.macros[f.Name], m)
}

// words are the names in a macro's body, in lower case, and its keywords.
func words(body string) []string {
	return strings.FieldsFunc(strings.ToLower(body), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	})
}
