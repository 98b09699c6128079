package sqlfront

import (
	"math/big"
	"strings"
	"time"

	"github.com/tidemill/tidemill/internal/diag"
)

// calendarUnits have no fixed length.
const calendarUnits = " mon mons month months quarter quarters y yr yrs year years" +
	" decade decades century centuries "

const durationExamples = "write it like '10 seconds', '250 ms', '1 minute 30 seconds' or '1h'"

// ParseDuration reads a length of time as options have it: '10 seconds', '1 minute 30 seconds', '1h30m'. The reason is
// what is wrong with text, or "". The duration may be negative.
func ParseDuration(text string) (d time.Duration, reason string) {
	rest := strings.TrimSpace(text)
	if rest == "0" {
		return 0, ""
	}
	if rest == "" || len(rest) > 200 {
		return 0, "is not a duration"
	}
	sum := new(big.Rat)
	for rest != "" {
		var number, unit string
		number, rest = cutNumber(rest)
		unit, rest = cutUnit(strings.TrimLeft(rest, " \t"))
		count, ok := new(big.Rat).SetString(number)
		switch {
		case number == "" || !ok:
			return 0, "is not a duration"
		case unit == "":
			return 0, "has no unit"
		case inWords(calendarUnits, unit):
			return 0, "has no fixed length: months and years differ"
		}
		length := unitLength(unit)
		if length == 0 {
			return 0, `has the unknown unit "` + clip(unit) + `"`
		}
		sum.Add(sum, count.Mul(count, new(big.Rat).SetInt64(int64(length))))
		rest = strings.TrimLeft(rest, " \t")
	}
	nanos := new(big.Int).Quo(sum.Num(), sum.Denom())
	if !nanos.IsInt64() {
		return 0, "is longer than 292 years"
	}
	return time.Duration(nanos.Int64()), ""
}

// unitLength returns the length of a unit, or 0 if there is no unit of that name and of fixed length.
func unitLength(unit string) time.Duration {
	switch {
	case inWords(" us usec usecs microsecond microseconds ", unit):
		return time.Microsecond
	case inWords(" ms msec msecs millisecond milliseconds ", unit):
		return time.Millisecond
	case inWords(" s sec secs second seconds ", unit):
		return time.Second
	case inWords(" m min mins minute minutes ", unit):
		return time.Minute
	case inWords(" h hr hrs hour hours ", unit):
		return time.Hour
	case inWords(" d day days ", unit):
		return 24 * time.Hour
	case inWords(" w week weeks ", unit):
		return 7 * 24 * time.Hour
	}
	return 0
}

// cutNumber cuts a sign, digits and a fraction from the front of s.
func cutNumber(s string) (number, rest string) {
	i, point := 0, false
	for i < len(s) && (digit(s[i]) || i == 0 && (s[i] == '-' || s[i] == '+') || s[i] == '.' && !point) {
		point = point || s[i] == '.'
		i++
	}
	return s[:i], s[i:]
}

func cutUnit(s string) (unit, rest string) {
	i := 0
	for i < len(s) && wordStart(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

// interval reads INTERVAL '10 seconds', INTERVAL 10 SECONDS or INTERVAL '10' SECONDS; the word INTERVAL may
// be absent when bare is set. It returns the length, which may be negative, and its place.
func (p *parser) interval(code diag.Code, bare bool) (time.Duration, diag.Span, bool) {
	if !p.accept("INTERVAL") && !bare {
		p.fault(code, p.peek().span(), "expected INTERVAL and a length of time, found %s", p.shown(p.peek())).
			WithHint("write it like INTERVAL '10 seconds'")
		return 0, diag.Span{}, false
	}
	start := p.peek()
	text := ""
	if p.acceptPunct('-') {
		text = "-"
	}
	switch t := p.peek(); t.kind {
	case tokenString:
		text += stringText(p.raw(t))
	case tokenNumber:
		text += p.raw(t)
	default:
		p.expected("a length of time in quotes").WithHint(durationExamples)
		return 0, diag.Span{}, false
	}
	p.pos++
	if t := p.peek(); t.kind == tokenWord && (unitLength(p.raw(t)) > 0 || inWords(calendarUnits, p.raw(t))) {
		text += " " + p.raw(t)
		p.pos++
	}
	span := diag.Span{Start: start.start, End: p.back().end}
	d, reason := ParseDuration(text)
	if reason != "" {
		p.fault(code, span, `the length of time "%s" %s`, clip(text), reason).WithHint(durationExamples)
		return 0, span, false
	}
	return d, span, true
}
