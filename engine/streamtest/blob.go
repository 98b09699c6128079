package streamtest

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

var escapedByte = regexp.MustCompile(`\\x[0-9a-fA-F]{2}`)

// blob is a BLOB as DuckDB shows it: the bytes of a sink, or a text that is cast to one, in which \xNN is a byte.
func blob(v any) string {
	bytes, ok := v.([]byte)
	if !ok {
		bytes = escapedByte.ReplaceAllFunc(fmt.Append(nil, v), func(escaped []byte) []byte {
			b, err := hex.DecodeString(string(escaped[2:]))
			if err != nil {
				return escaped
			}
			return b
		})
	}
	var out strings.Builder
	for _, b := range bytes {
		if b < ' ' || b > '~' || strings.IndexByte(`\"'`, b) >= 0 {
			fmt.Fprintf(&out, `\x%02X`, b)
			continue
		}
		out.WriteByte(b)
	}
	return out.String()
}
