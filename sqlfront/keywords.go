package sqlfront

import "strings"

// reservedWords are the words that DuckDB 1.1 does not take as the name of a table or column unless they are
// quoted: its categories "reserved" and "type_function".
const reservedWords = " all analyse analyze and any array as asc asymmetric both case cast check collate" +
	" column constraint create default deferrable desc describe distinct do else end except false fetch" +
	" for foreign from grant group having in initially intersect into lateral leading limit not null offset on only or" +
	" order pivot pivot_longer pivot_wider placing primary qualify references returning select show some" +
	" summarize symmetric table then to trailing true union unique unpivot using variadic when where window" +
	" with anti asof authorization binary collation columns concurrently cross freeze full generated glob" +
	" ilike inner is isnull join left like map natural notnull outer overlaps positional right semi similar" +
	" struct tablesample try_cast verbose "

// typeWords are those of them that may stand in a type.
const typeWords = " array map struct union "

func reserved(word string) bool { return inWords(reservedWords, word) }

func inWords(words, word string) bool { return strings.Contains(words, " "+strings.ToLower(word)+" ") }

// typeNames are the types that a misspelled one is likely to mean.
func typeNames() []string {
	return strings.Fields("BIGINT INTEGER INT SMALLINT TINYINT HUGEINT UBIGINT UINTEGER USMALLINT UTINYINT" +
		" DOUBLE FLOAT DECIMAL VARCHAR TEXT BOOLEAN TIMESTAMP TIMESTAMPTZ DATE TIME INTERVAL BLOB UUID" +
		" JSON STRUCT MAP ENUM")
}
