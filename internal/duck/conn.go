package duck

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Conn is one connection. One goroutine at a time may use it; it holds the temporary tables made through it.
// A statement that fails inside BEGIN … COMMIT may leave the transaction aborted: the caller rolls it back.
type Conn struct {
	db     *DB
	con    driver.Conn
	exec   driver.ExecerContext
	query  driver.QueryerContext
	raw    uintptr
	closed bool
	kept   map[string]*prepared // see QueryAgain
	share  int64                // see Share
}

func newConn(db *DB, con driver.Conn) (*Conn, error) {
	raw, err := rawConnection(con)
	if err != nil {
		return nil, &Error{Kind: InternalFault, Message: err.Error(), Position: -1, Err: err}
	}
	exec, canExec := con.(driver.ExecerContext)
	query, canQuery := con.(driver.QueryerContext)
	if !canExec || !canQuery {
		return nil, internalFault("driver connection %T lacks ExecContext or QueryContext", con)
	}
	return &Conn{db: db, con: con, exec: exec, query: query, raw: raw, share: 1}, nil
}

// Share says that a result is made by so many connections from now on, each of which has its share of the memory that one
// result may take of Go's.
func (c *Conn) Share(connections int) { c.share = int64(connections) }

// Close drops the connection's temporary tables and rolls back what is open. It may be called again.
func (c *Conn) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	c.forget()
	defer c.db.leave()
	if err := c.con.Close(); err != nil {
		return fmt.Errorf("close connection: %w", err)
	}
	return nil
}

// Exec runs one or more statements; args bind to the last. It returns how many rows the last one changed.
// Nothing is refused: the caller wrote the text or has checked it. When ctx ends, the statement is
// interrupted within milliseconds and the context's error returned.
func (c *Conn) Exec(ctx context.Context, sql string, args ...any) (rows int64, err error) {
	return c.execAfter(ctx, "", sql, args)
}

// execAfter runs prefix + sql; positions in errors count from the start of sql.
func (c *Conn) execAfter(ctx context.Context, prefix, sql string, args []any) (int64, error) {
	named, err := c.begin(ctx, sql, args)
	if err != nil {
		return 0, err
	}
	c.db.trace(prefix + sql)
	if len(named) == 0 {
		return c.run(ctx, prefix+sql, len(prefix))
	}
	res, err := c.exec.ExecContext(ctx, prefix+sql, named)
	if err != nil {
		return 0, fault(ctx, err, prefix+sql, len(prefix))
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, fault(ctx, err, prefix+sql, len(prefix))
	}
	return n, nil
}

// run does so for statements without arguments. The driver would ask DuckDB for a task over and over while its other threads
// have all the work.
func (c *Conn) run(ctx context.Context, sql string, prefix int) (int64, error) {
	done, kept := c.interruptible(ctx), c.db.slack.during()
	n, err := runStatements(c.raw, sql)
	done()
	kept()
	if err != nil {
		return 0, fault(ctx, err, sql, prefix)
	}
	return n, nil
}

// begin checks what every call needs: an open connection, a live context, text and arguments that reach
// DuckDB whole. The C interface ends strings at the first NUL byte, which would silently cut a statement.
func (c *Conn) begin(ctx context.Context, sql string, args []any) ([]driver.NamedValue, error) {
	if c.closed {
		return nil, &Error{Kind: InvalidInput, Message: "the connection is closed", Position: -1}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if i := strings.IndexByte(sql, 0); i >= 0 {
		return nil, syntaxError("the statement holds a NUL byte", i)
	}
	named := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		v, err := bindable(arg)
		if err != nil {
			message := fmt.Sprintf("argument %d %s", i+1, err)
			return nil, &Error{Kind: InvalidInput, Message: message, Position: -1, Err: err}
		}
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return named, nil
}

// Rows runs a statement and returns its small result: one slice per row. BOOLEAN is bool, integers up to
// 64 bits are int64 (UBIGINT uint64), HUGEINT is *big.Int, FLOAT and DOUBLE are float64, DECIMAL and UUID are
// string, BLOB is []byte, dates, times and timestamps are time.Time in UTC, INTERVAL is Interval, LIST is
// []any, STRUCT is map[string]any, MAP is map[any]any, NULL is nil.
func (c *Conn) Rows(ctx context.Context, sql string, args ...any) ([][]any, error) {
	return c.rowsAfter(ctx, "", sql, args)
}

func (c *Conn) rowsAfter(ctx context.Context, prefix, sql string, args []any) (out [][]any, err error) {
	named, err := c.begin(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	c.db.trace(prefix + sql)
	rows, err := c.query.QueryContext(ctx, prefix+sql, named)
	if err != nil {
		return nil, fault(ctx, err, prefix+sql, len(prefix))
	}
	defer func() {
		if closeErr := rows.Close(); closeErr != nil && err == nil {
			out, err = nil, fault(ctx, closeErr, sql, 0)
		}
	}()
	typed, _ := rows.(driver.RowsColumnTypeDatabaseTypeName)
	width := len(rows.Columns())
	vals := make([]driver.Value, width)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		switch err := rows.Next(vals); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fault(ctx, err, prefix+sql, len(prefix))
		}
		row := make([]any, width)
		for i, v := range vals {
			row[i] = goValue(v, typed != nil && typed.ColumnTypeDatabaseTypeName(i) == "UUID")
		}
		out = append(out, row)
	}
}

// A Column is one column of a SELECT.
type Column struct {
	Name string
	Type string // in DuckDB's spelling; see ArrowType
}

const describePrefix = "DESCRIBE "

// Describe binds a SELECT without running it and returns its columns.
func (c *Conn) Describe(ctx context.Context, sql string) ([]Column, error) {
	rows, err := c.rowsAfter(ctx, describePrefix, sql, nil)
	if err != nil {
		return nil, c.locate(ctx, err, sql)
	}
	cols := make([]Column, len(rows))
	for i, row := range rows {
		name, okName := row[0].(string)
		typ, okType := row[1].(string)
		if !okName || !okType {
			return nil, internalFault("DESCRIBE returned %v", row)
		}
		cols[i] = Column{Name: name, Type: typ}
	}
	return cols, nil
}

const (
	serializeSQL = "SELECT json_serialize_sql(?::VARCHAR, skip_null:=false, skip_empty:=false, " +
		"format:=false)"
	deserializeSQL = "SELECT json_deserialize_sql(?::JSON)"
)

// Parse returns DuckDB's syntax tree of exactly one SELECT as JSON, with a byte offset (query_location) at
// each node that has one. Anything else is an *Error of kind Syntax. Nothing is bound: names need not
// exist.
func (c *Conn) Parse(ctx context.Context, sql string) ([]byte, error) {
	if i := strings.IndexByte(sql, 0); i >= 0 {
		return nil, syntaxError("the statement holds a NUL byte", i)
	}
	if !utf8.ValidString(sql) {
		return nil, syntaxError("the statement is not valid UTF-8", badUTF8(sql))
	}
	text, err := c.oneString(ctx, serializeSQL, sql)
	if err != nil {
		return nil, err
	}
	var tree parsedTree
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return nil, internalFault("json_serialize_sql returned no JSON: %s", err)
	}
	if err := tree.check(sql); err != nil {
		return nil, err
	}
	return []byte(text), nil
}

// parsedTree is the outermost part of what json_serialize_sql returns.
type parsedTree struct {
	Error      bool   `json:"error"`
	Message    string `json:"error_message"`
	Position   string `json:"position"`
	Statements []struct {
		Node struct {
			From struct {
				Type string `json:"type"`
			} `json:"from_table"`
		} `json:"node"`
	} `json:"statements"`
}

// check admits one SELECT. DuckDB reads DESCRIBE, SHOW and SUMMARIZE as SELECTs from a special table.
func (t *parsedTree) check(sql string) error {
	if t.Error {
		position := -1
		if n, err := strconv.Atoi(t.Position); err == nil {
			position = byteOffset(sql, n)
		}
		return syntaxError(parseMessage(t.Message, "").Message, position)
	}
	if n := len(t.Statements); n != 1 {
		return syntaxError(fmt.Sprintf("found %d statements, expected exactly one SELECT", n), -1)
	}
	if t.Statements[0].Node.From.Type == "SHOW_REF" {
		return syntaxError("Only SELECT statements are possible here, not DESCRIBE, SHOW or SUMMARIZE", -1)
	}
	return nil
}

func syntaxError(message string, position int) error {
	return &Error{Kind: Syntax, Message: message, Position: position}
}

// locate adds the position to a syntax error, which DuckDB tells only when it is asked to parse.
func (c *Conn) locate(ctx context.Context, err error, sql string) error {
	var e, parsed *Error
	if !errors.As(err, &e) || e.Kind != Syntax || e.Position >= 0 {
		return err
	}
	if _, parseErr := c.Parse(ctx, sql); errors.As(parseErr, &parsed) && parsed.Kind == Syntax {
		e.Message, e.Position = parsed.Message, parsed.Position
	}
	return err
}

// byteOffset returns where character n of s begins: the parser counts characters, all else counts bytes.
func byteOffset(s string, n int) int {
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

func badUTF8(s string) int {
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") {
			return i
		}
	}
	return -1
}

// Render returns the SQL text of a tree in the form that Parse returns. A tree that DuckDB can not read is an
// *Error.
func (c *Conn) Render(ctx context.Context, tree []byte) (string, error) {
	return c.oneString(ctx, deserializeSQL, string(tree))
}

func (c *Conn) oneString(ctx context.Context, sql, arg string) (string, error) {
	rows, err := c.Rows(ctx, sql, arg)
	if err != nil {
		return "", err
	}
	if len(rows) == 1 && len(rows[0]) == 1 {
		if s, ok := rows[0][0].(string); ok {
			return s, nil
		}
	}
	return "", internalFault("%s returned no text", sql)
}
