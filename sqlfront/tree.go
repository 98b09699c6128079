package sqlfront

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// node is a piece of DuckDB's syntax tree.
type node map[string]any

// decodeTree returns DuckDB's tree. Positions stay as they are written, since synthetic nodes carry
// 18446744073709551615.
func decodeTree(data []byte) (node, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var n node
	if err := d.Decode(&n); err != nil {
		return nil, fmt.Errorf("decode syntax tree: %w", err)
	}
	return n, nil
}

// walk calls visit for each object of the tree, in no order that matters, until it returns false for one,
// whose inside is then left out.
func walk(v any, visit func(n node) bool) {
	switch t := v.(type) {
	case node:
		walk(map[string]any(t), visit)
	case map[string]any:
		if !visit(t) {
			return
		}
		for _, child := range t {
			walk(child, visit)
		}
	case []any:
		for _, child := range t {
			walk(child, visit)
		}
	}
}

// text returns a text attribute, or "".
func (n node) text(name string) string {
	s, _ := n[name].(string)
	return s
}

// list returns a list attribute, or nil.
func (n node) list(name string) []any {
	l, _ := n[name].([]any)
	return l
}

// object returns an object attribute, or nil.
func (n node) object(name string) node {
	m, _ := n[name].(map[string]any)
	return m
}

// at returns the byte offset of the node, or -1 for a synthetic one.
func (n node) at() int {
	number, _ := n["query_location"].(json.Number)
	at, err := strconv.ParseInt(string(number), 10, 32)
	if err != nil {
		return -1
	}
	return int(at)
}

// selects returns the statements of a tree.
func (n node) selects() []node {
	var all []node
	for _, s := range n.list("statements") {
		if m, ok := s.(map[string]any); ok {
			all = append(all, node(m).object("node"))
		}
	}
	return all
}
