package natsconn

import "strings"

// Covers reports whether every subject that pattern inner matches is matched by pattern outer too.
func Covers(outer, inner string) bool {
	o, i := strings.Split(outer, "."), strings.Split(inner, ".")
	for n, token := range o {
		switch {
		case token == ">":
			return len(i) > n
		case n >= len(i) || i[n] == ">":
			return false
		case token != "*" && token != i[n]:
			return false
		}
	}
	return len(i) == len(o)
}

// CoversAny reports whether one of the patterns covers subject.
func CoversAny(patterns []string, subject string) bool {
	for _, p := range patterns {
		if Covers(p, subject) {
			return true
		}
	}
	return false
}

// ValidSubject reports whether s can be a subject pattern: tokens that are not empty, no spaces, ">" only at
// the end.
func ValidSubject(s string) bool {
	tokens := strings.Split(s, ".")
	for n, token := range tokens {
		if token == "" || token == ">" && n < len(tokens)-1 || strings.ContainsAny(token, " \t\r\n\x00") {
			return false
		}
		if len(token) > 1 && strings.ContainsAny(token, "*>") {
			return false
		}
	}
	return true
}

// ValidStream reports whether s can be a stream's name.
func ValidStream(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsAny(s, " \t\r\n\x00.*>/\\")
}
