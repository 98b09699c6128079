package duck

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"

	duckdb "github.com/marcboeker/go-duckdb"
)

// A Kind says whose fault an Error is and what may be done about it.
type Kind int

// The kinds of Error. Other is whatever has no kind of its own.
const (
	Other         Kind = iota
	Syntax             // the text is not SQL, or not what the method admits
	Binder             // a name or a type does not fit
	Catalog            // a table, function or type does not exist, or exists already
	Conversion         // a value does not fit the type it is cast to
	OutOfRange         // a value leaves the range of its type
	InvalidInput       // a function or a method got a value that it can not work with
	Constraint         // a NOT NULL, CHECK or key was broken
	OutOfMemory        // over memory_limit and max_temp_directory_size
	IO                 // a file could not be read or written
	Interrupt          // interrupted, and not by this call's context
	Permission         // forbidden by the seal
	Fatal              // the database is invalid until the process ends; do not Close it
	InternalFault      // a bug in DuckDB or in this package
)

// String returns the kind in words.
func (k Kind) String() string {
	names := [...]string{
		"error", "syntax error", "binder error", "catalog error", "conversion error", "out of range",
		"invalid input", "constraint error", "out of memory", "input/output error", "interrupted",
		"permission error", "fatal error", "internal error",
	}
	if k < 0 || int(k) >= len(names) {
		return names[Other]
	}
	return names[k]
}

// An Error is one error of DuckDB.
type Error struct {
	Kind Kind
	// Message is DuckDB's text without its prefix ("Binder Error: "), the excerpt of the statement and the
	// candidates.
	Message string
	// Position is the byte offset in the SQL text that was given to the method, or -1 when DuckDB does not
	// say.
	Position int
	// Candidates are the near names or the overloads that DuckDB proposes, in its order, without the names of its
	// own catalogue.
	Candidates []string
	// Err is the driver's error; nil when the error was found in this package.
	Err error
}

// Error returns kind and message in one line or more.
func (e *Error) Error() string { return "duckdb: " + e.Kind.String() + ": " + e.Message }

// Unwrap returns the driver's error.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is find syscall.ENOSPC in DuckDB's texts about a full disk, whatever their kind.
func (e *Error) Is(target error) bool {
	return target == syscall.ENOSPC && strings.Contains(e.Message, "No space left on device")
}

// RowFault reports whether the value of some row may have caused the error, so that the statement may succeed
// without that row. Memory, I/O, interrupts and internal errors never are.
func (e *Error) RowFault() bool {
	return e.Kind == Conversion || e.Kind == OutOfRange || e.Kind == InvalidInput
}

func internalFault(format string, args ...any) error {
	return &Error{Kind: InternalFault, Message: fmt.Sprintf(format, args...), Position: -1}
}

// kindOf maps the driver's types. What is missing is Other.
func kindOf(t duckdb.ErrorType) Kind {
	switch t {
	case duckdb.ErrorTypeParser:
		return Syntax
	case duckdb.ErrorTypeBinder, duckdb.ErrorTypeParameterNotResolved, duckdb.ErrorTypeParameterNotAllowed:
		return Binder
	case duckdb.ErrorTypeCatalog:
		return Catalog
	case duckdb.ErrorTypeConversion, duckdb.ErrorTypeMismatchType, duckdb.ErrorTypeDecimal:
		return Conversion
	case duckdb.ErrorTypeOutOfRange, duckdb.ErrorTypeDivideByZero, duckdb.ErrorTypeObjectSize:
		return OutOfRange
	case duckdb.ErrorTypeInvalidInput, duckdb.ErrorTypeSyntax: // the latter is said of the pattern of a LIKE that is computed
		return InvalidInput
	case duckdb.ErrorTypeConstraint:
		return Constraint
	case duckdb.ErrorTypeOutOfMemory:
		return OutOfMemory
	case duckdb.ErrorTypeIO:
		return IO
	case duckdb.ErrorTypeInterrupt:
		return Interrupt
	case duckdb.ErrorTypePermission, duckdb.ErrorTypeAutoLoad, duckdb.ErrorTypeMissingExtension:
		return Permission
	case duckdb.ErrorTypeFatal:
		return Fatal
	case duckdb.ErrorTypeInternal:
		return InternalFault
	default:
		return Other
	}
}

// monthsAndDays is what time_bucket says of an interval that it can not work with. The error's type says that DuckDB lacks something,
// for which no row is to blame otherwise.
const monthsAndDays = "Month intervals cannot have day or time component"

// fault turns an error of the driver into the context's error or an *Error. prefix is how many bytes this
// package put before the caller's text in sql.
func fault(ctx context.Context, err error, sql string, prefix int) error {
	if ctxErr := ctx.Err(); ctxErr != nil && (errors.Is(err, ctxErr) || interrupted(err)) {
		return ctxErr
	}
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	var de *duckdb.Error
	if !errors.As(err, &de) {
		de = &duckdb.Error{Type: typeOfText(err.Error()), Msg: err.Error()}
	}
	e := parseMessage(de.Msg, sql)
	e.Kind, e.Err = kindOf(de.Type), err
	if e.Kind == Other && e.Message == monthsAndDays {
		e.Kind = InvalidInput
	}
	if strings.Contains(e.Message, "configuration has been locked") {
		e.Kind = Permission
	}
	if e.Position >= 0 {
		e.Position = max(e.Position-prefix, -1)
	}
	return e
}

func interrupted(err error) bool {
	var de *duckdb.Error
	if errors.As(err, &de) {
		return de.Type == duckdb.ErrorTypeInterrupt
	}
	return typeOfText(err.Error()) == duckdb.ErrorTypeInterrupt
}

// typeOfText finds the driver's type of an error in DuckDB's text, which begins with its name.
func typeOfText(text string) duckdb.ErrorType {
	for _, known := range []struct {
		prefix string
		typ    duckdb.ErrorType
	}{
		{"Out of Memory", duckdb.ErrorTypeOutOfMemory}, {"Conversion", duckdb.ErrorTypeConversion},
		{"Out of Range", duckdb.ErrorTypeOutOfRange}, {"Invalid Input", duckdb.ErrorTypeInvalidInput},
		{"INTERRUPT", duckdb.ErrorTypeInterrupt}, {"IO", duckdb.ErrorTypeIO}, {"FATAL", duckdb.ErrorTypeFatal},
		{"Parser", duckdb.ErrorTypeParser}, {"Syntax", duckdb.ErrorTypeSyntax}, {"Binder", duckdb.ErrorTypeBinder},
		{"Catalog", duckdb.ErrorTypeCatalog}, {"Decimal", duckdb.ErrorTypeDecimal},
		{"Mismatch Type", duckdb.ErrorTypeMismatchType}, {"Divide by Zero", duckdb.ErrorTypeDivideByZero},
		{"Object Size", duckdb.ErrorTypeObjectSize}, {"Constraint", duckdb.ErrorTypeConstraint},
		{"Permission", duckdb.ErrorTypePermission}, {"Missing Extension", duckdb.ErrorTypeMissingExtension},
		{"Extension Autoloading", duckdb.ErrorTypeAutoLoad}, {"INTERNAL", duckdb.ErrorTypeInternal},
		{"Parameter Not Resolved", duckdb.ErrorTypeParameterNotResolved},
		{"Parameter Not Allowed", duckdb.ErrorTypeParameterNotAllowed},
	} {
		if strings.HasPrefix(text, known.prefix+" Error") {
			return known.typ
		}
	}
	return duckdb.ErrorTypeInvalid
}

var (
	messagePrefix = regexp.MustCompile(`^(?:[A-Za-z]+ ){1,4}Error: `)
	messageTail   = regexp.MustCompile(`(?s)\s*LINE (\d+): .*$`)
	quotedName    = regexp.MustCompile(`"((?:[^"]|"")*)"`)
)

// parseMessage takes DuckDB's text apart: prefix, words, candidates, excerpt of sql.
func parseMessage(msg, sql string) *Error {
	e := &Error{Position: excerptPosition(msg, sql)}
	text := messagePrefix.ReplaceAllString(msg, "")
	text = messageTail.ReplaceAllString(text, "")
	e.Message, e.Candidates = splitCandidates(text)
	return e
}

func splitCandidates(text string) (message string, candidates []string) {
	var kept []string
	overloads := false
	for line := range strings.SplitSeq(text, "\n") {
		bare := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(bare, "Candidate functions:"), strings.HasPrefix(bare, "Candidate macros:"):
			overloads = true
		case overloads && bare != "":
			candidates = append(candidates, bare)
		case strings.HasPrefix(bare, "Candidate bindings:"), strings.HasPrefix(bare, "Candidate tables:"),
			strings.HasPrefix(bare, "Candidate Entries:"), strings.HasPrefix(bare, "Did you mean "):
			for _, m := range quotedName.FindAllStringSubmatch(bare, -1) {
				if name := strings.ReplaceAll(m[1], `""`, `"`); !internal(name) {
					candidates = append(candidates, name)
				}
			}
		case !overloads:
			kept = append(kept, line)
		}
	}
	return strings.TrimSpace(strings.Join(kept, "\n")), candidates
}

// internal reports whether a name that DuckDB proposes, perhaps with its schema or relation before it, is one of its
// own catalogue or of this program: nobody means those.
func internal(name string) bool {
	bare := strings.ToLower(name)
	if strings.HasPrefix(bare, "pg_catalog.") || strings.HasPrefix(bare, "information_schema.") {
		return true
	}
	bare = bare[strings.LastIndexByte(bare, '.')+1:]
	return slices.ContainsFunc([]string{"pg_", "duckdb_", "sqlite_", "__"}, func(prefix string) bool {
		return strings.HasPrefix(bare, prefix)
	})
}
