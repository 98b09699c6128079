package duck

import "strings"

// QuoteIdent returns s as a quoted SQL identifier.
func QuoteIdent(s string) string {
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}

// QuoteLiteral returns s as an SQL string literal. DuckDB knows no escapes inside one but the doubled quote.
// A NUL byte can not stand in SQL text: statements that hold one are refused by every method of Conn.
func QuoteLiteral(s string) string {
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
