package sqlfront

import "strings"

// typeWords are reserved words that may stand in a type.
const typeWords = " array map struct union "

func inWords(words, word string) bool { return strings.Contains(words, " "+strings.ToLower(word)+" ") }

// typeNames are the types that a misspelled one is likely to mean.
func typeNames() []string {
	return strings.Fields("BIGINT INTEGER INT SMALLINT TINYINT HUGEINT UBIGINT UINTEGER USMALLINT UTINYINT" +
		" DOUBLE FLOAT DECIMAL VARCHAR TEXT BOOLEAN TIMESTAMP TIMESTAMPTZ DATE TIME INTERVAL BLOB UUID" +
		" JSON STRUCT MAP ENUM")
}
