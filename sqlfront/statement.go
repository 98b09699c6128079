package sqlfront

import (
	"context"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// Env is what Parse needs of the world.
type Env struct {
	// Getenv looks up a variable for ${NAME} and env:NAME. Nil means that none is set.
	Getenv func(name string) (string, bool)
	// ReadFile reads the file of a file: secret. Nil means that none is there.
	ReadFile func(path string) ([]byte, error)
	// Registry is the set of connectors.
	Registry stream.Registry
	// Typer is DuckDB. Parse makes temporary macros and tables named like those of the text and drops them
	// before it returns, so the connection should hold none of its own.
	Typer Typer
	// Base is what has been declared before, for a prompt; nil for nothing. It is not changed.
	Base *planner.App
	// KeepSecrets leaves secrets unresolved: only their form is checked, and their value is empty. For lint.
	KeepSecrets bool
}

// Typer is the part of *duck.Conn that checks types and bodies.
type Typer interface {
	Describe(ctx context.Context, sql string) ([]duck.Column, error)
	Parse(ctx context.Context, sql string) ([]byte, error)
	Exec(ctx context.Context, sql string, args ...any) (int64, error)
}

// Kind is a kind of statement.
type Kind int

// The kinds.
const (
	Create   Kind = iota // CREATE of an Object
	Drop                 // DROP of an Object
	Show                 // SHOW SOURCES, for example: all names of an Object
	Describe             // DESCRIBE name
	Explain              // EXPLAIN [BATCH] query
	Select               // a SELECT, for the prompt
)

// Object is a kind of thing that has a name, as the singular word of SQL.
type Object string

// The objects. All share one space of names.
const (
	SourceObject Object = "SOURCE"
	TableObject  Object = "TABLE"
	ViewObject   Object = "VIEW"
	MacroObject  Object = "MACRO"
	SinkObject   Object = "SINK"
	QueryObject  Object = "QUERY"
)

// Statement is one statement of a text.
type Statement struct {
	Kind   Kind
	Object Object // of Create, Drop and Show; of Describe and Explain, what the name names
	Name   string // as it was declared; empty for Show and Select
	Span   diag.Span
	Body   diag.Span // of Select, and of Create with a body
	Batch  bool      // EXPLAIN BATCH
	Absent bool      // of DROP IF EXISTS, that there was nothing to drop
}

// Script is a checked text: what it declares once all its statements are applied, and the statements in
// order.
type Script struct {
	App        *planner.App
	Statements []Statement
	// Rest is what is left of a text with faults. Nil if there are none.
	Rest *Rest
}

// Rest is what can still be looked at of a text with faults, so that they all show at once.
type Rest struct {
	App   *planner.App    // what could be read; the rest is Lost, Open and Doubtful
	Whole map[string]bool // by name, of queries and sources: neither they nor what they name has a fault of its own
}

// Parse reads and checks a text. The error is a diag.List with all faults in the order of their places, or
// the context's error, or a fault of the Typer itself. With faults of the text the Script has only its Rest. Text is not
// changed; the faults and the App point into a copy of it in which secrets that were written out are blotted.
func Parse(ctx context.Context, text *diag.Text, env Env) (*Script, error) {
	r := newReader(text, env)
	if r.unreadable() {
		return nil, r.faults.Err()
	}
	err := r.read(ctx)
	r.blot()
	if err != nil {
		return nil, err
	}
	if r.faults.Sort(); len(r.faults) > 0 {
		return &Script{Rest: r.rest()}, r.faults
	}
	return &Script{App: r.app, Statements: r.statements}, nil
}
