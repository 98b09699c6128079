package generator

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// spec is one entry of the option fields: kind(args).
type spec struct {
	kind string
	lo   string            // LO..HI
	hi   string            // empty without a range
	list string            // pick's A|B|C
	args map[string]string // name=value
}

// parseFields reads 'column: kind(args), ...'. It returns what is right of it, and what is wrong.
func parseFields(s string) (map[string]spec, []error) {
	specs := map[string]spec{}
	var wrong []error
	for _, part := range split(s) {
		if strings.TrimSpace(part) == "" {
			continue
		}
		name, rest, ok := strings.Cut(part, ":")
		name = strings.TrimSpace(name)
		_, double := specs[name]
		sp, err := parseSpec(strings.TrimSpace(rest))
		switch {
		case !ok || name == "":
			wrong = append(wrong, fmt.Errorf("%q is not of the form column: kind(...)", strings.TrimSpace(part)))
			continue
		case double:
			err = fmt.Errorf("column %q stands twice", name)
		case err != nil:
			err = fmt.Errorf("column %q: %w", name, err)
			sp = spec{}
		}
		if err != nil {
			wrong = append(wrong, err)
		}
		if !double {
			specs[name] = sp
		}
	}
	return specs, wrong
}

// split cuts at the commas outside of parentheses.
func split(s string) []string {
	var parts []string
	depth, start := 0, 0
	for i, c := range s {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			parts, start = append(parts, s[start:i]), i+1
		}
	}
	return append(parts, s[start:])
}

func parseSpec(s string) (spec, error) {
	open := strings.IndexByte(s, '(')
	if open < 0 || !strings.HasSuffix(s, ")") {
		return spec{}, fmt.Errorf("%q is not of the form kind(...)", s)
	}
	sp := spec{kind: strings.ToLower(strings.TrimSpace(s[:open])), args: map[string]string{}}
	inside := s[open+1 : len(s)-1]
	if sp.kind == "pick" {
		// The values may hold anything but | and the last comma's null=.
		if at := strings.LastIndex(inside, ","); at >= 0 && strings.HasPrefix(strings.TrimSpace(inside[at+1:]), "null=") {
			sp.args["null"] = strings.TrimPrefix(strings.TrimSpace(inside[at+1:]), "null=")
			inside = inside[:at]
		}
		sp.list = inside
		return sp, nil
	}
	for _, arg := range strings.Split(inside, ",") {
		arg = strings.TrimSpace(arg)
		name, value, named := strings.Cut(arg, "=")
		lo, hi, ranged := strings.Cut(arg, "..")
		switch {
		case arg == "":
		case named:
			sp.args[strings.TrimSpace(name)] = strings.TrimSpace(value)
		case ranged:
			sp.lo, sp.hi = strings.TrimSpace(lo), strings.TrimSpace(hi)
		default:
			return spec{}, fmt.Errorf("%q is neither a range LO..HI nor name=value", arg)
		}
	}
	return sp, nil
}

// take returns and removes the argument, or the default if it is absent.
func (s *spec) take(name, def string) string {
	v, ok := s.args[name]
	if !ok {
		return def
	}
	delete(s.args, name)
	return v
}

// rest refuses what nothing has taken.
func (s *spec) rest() error {
	if len(s.args) == 0 {
		return nil
	}
	return fmt.Errorf("%s() has no argument %q", s.kind, slices.Min(slices.Collect(maps.Keys(s.args))))
}

func (s *spec) takeInt(name string, def int64) (int64, error) {
	v := s.take(name, strconv.FormatInt(def, 10))
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s=%s is not an integer", name, v)
	}
	return n, nil
}

// takeShare reads 5% or 0.05 and returns it as a threshold for numbers of 53 bits.
func (s *spec) takeShare(name, def string) (uint64, error) {
	v := s.take(name, def)
	text, percent := strings.CutSuffix(v, "%")
	f, err := strconv.ParseFloat(text, 64)
	if percent {
		f /= 100
	}
	if err != nil || !(f >= 0 && f <= 1) {
		return 0, fmt.Errorf("%s=%s is not a share such as 5%% or 0.05", name, v)
	}
	return uint64(f * (1 << 53)), nil
}

// takeMicros reads a duration such as 5s or 10m.
func (s *spec) takeMicros(name string, def time.Duration) (int64, error) {
	v := s.take(name, def.String())
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 || d%time.Microsecond != 0 && d < time.Microsecond {
		return 0, fmt.Errorf("%s=%s is not a duration such as 500ms, 5s or 10m of at least a microsecond", name, v)
	}
	return d.Microseconds(), nil
}

func (s *spec) ints(lo, hi int64) (int64, int64, error) {
	if s.lo == "" && s.hi == "" {
		return lo, hi, nil
	}
	a, err1 := strconv.ParseInt(s.lo, 10, 64)
	b, err2 := strconv.ParseInt(s.hi, 10, 64)
	if err1 != nil || err2 != nil || a > b {
		return 0, 0, fmt.Errorf("%s..%s is not a range of integers", s.lo, s.hi)
	}
	return a, b, nil
}

func (s *spec) floats(lo, hi float64) (float64, float64, error) {
	if s.lo == "" && s.hi == "" {
		return lo, hi, nil
	}
	a, err1 := strconv.ParseFloat(s.lo, 64)
	b, err2 := strconv.ParseFloat(s.hi, 64)
	if err1 != nil || err2 != nil || !(a <= b) || math.IsInf(b-a, 0) {
		return 0, 0, fmt.Errorf("%s..%s is not a range of numbers", s.lo, s.hi)
	}
	return a, b, nil
}
