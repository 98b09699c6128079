package duck

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

// Reserved reports whether a word, in letters of any case, is the name of a table or column only in quotes.
func Reserved(word string) bool {
	return strings.Contains(reservedWords, " "+strings.ToLower(word)+" ")
}
