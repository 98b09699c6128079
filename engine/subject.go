package engine

import "strings"

// subjectsMeet reports whether some NATS subject matches both patterns: tokens meet if they are equal or either is a
// wildcard, and > meets every rest of at least one token. A template's {field} counts as a wildcard.
func subjectsMeet(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; ; i++ {
		switch {
		case i == len(as) && i == len(bs):
			return true
		case i == len(as) || i == len(bs):
			return false
		case as[i] == ">" || bs[i] == ">":
			return true
		case !wild(as[i]) && !wild(bs[i]) && as[i] != bs[i]:
			return false
		}
	}
}

func wild(token string) bool { return token == "*" || strings.Contains(token, "{") }
