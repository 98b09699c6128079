package diag

import "regexp"

// userinfo is what a URL says of user and password. The ones of NATS servers end at the last "@" before a comma or a
// space, also where a slash was written that should have been escaped; in others a path may have an "@".
var userinfo = regexp.MustCompile(`(?i)\b(?:nats|tls|wss?)://([^\s,]*)@|[a-z][a-z0-9+.-]*://([^/\s,]*)@`)

// Redact covers what URLs in text say of user and password. Whatever prints, logs or stores a URL goes through it.
func Redact(text string) string {
	spans := Userinfo(text)
	for i := len(spans) - 1; i >= 0; i-- {
		text = text[:spans[i].Start] + "***" + text[spans[i].End:]
	}
	return text
}

// Userinfo returns where URLs in text name a user and a password.
func Userinfo(text string) []Span {
	var spans []Span
	for _, m := range userinfo.FindAllStringSubmatchIndex(text, -1) {
		at := m[2:4]
		if at[0] < 0 {
			at = m[4:6]
		}
		spans = append(spans, Span{Start: at[0], End: at[1]})
	}
	return spans
}
