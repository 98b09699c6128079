package streamtest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/tidemill/tidemill/internal/diag"
)

// kinds are the keys that a step may have, in the order in which messages list them.
var kinds = []string{"add", "run", "expect", "watermark", "state", "batches", "restart", "crash", "clock", "clear_sink", //nolint:gochecknoglobals // a constant
	"fails"}

// inside lists the keys of a step's map; nil where any may be, or where the value is no map.
func inside(kind string) []string {
	switch kind {
	case "expect":
		return []string{"new", "all", "last", "table", "sink", "ordered"}
	case "state":
		return []string{"rows", "updated", "removed", "dropped"}
	case "restart":
		return []string{"sql"}
	case "fails":
		return []string{"contains", "code"}
	}
	return nil
}

// checkShape refuses values of a step that say nothing, or something else than was meant.
func (s *Step) checkShape(text *diag.Text, node ast.Node) error {
	fault := func(at ast.Node, format string, args ...any) error {
		return badCase(text, at, s.Kind+": "+fmt.Sprintf(format, args...))
	}
	m, isMap := s.Value.(map[string]any)
	switch s.Kind {
	case "add", "expect", "state", "fails":
		if !isMap && (s.Kind != "fails" || s.Value != nil) {
			return fault(node, "expected a map, not %v", s.Value)
		}
	case "restart":
		if !isMap && s.Value != nil {
			return fault(node, "expected {} or {sql: …}, not %v", s.Value)
		}
	case "clear_sink":
		if s.Value != true {
			return fault(node, "expected true, not %v", s.Value)
		}
	}
	if known := inside(s.Kind); known != nil {
		for _, kv := range entries(node) {
			if key := kv.Key.String(); !slices.Contains(known, key) {
				return fault(kv.Key, "unknown key %q; expected %s", key, strings.Join(known, ", "))
			}
		}
	}
	for _, key := range []string{"sql", "code"} {
		if v, ok := m[key]; ok && inside(s.Kind) != nil && !isString(v) {
			return fault(node, "%s must be text, not %v", key, v)
		}
	}
	if v, ok := s.With["sink"]; ok && !isString(v) {
		return fault(node, "sink must be a name, not %v", v)
	}
	if v, ok := s.With["ordered"]; ok && v != true && v != false {
		return fault(node, "ordered must be true or false, not %v", v)
	}
	return nil
}

func isString(v any) bool {
	_, ok := v.(string)
	return ok
}
