package streamtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/tidemill/tidemill/internal/diag"
)

// Case is one YAML document.
type Case struct {
	Path      string
	Name      string
	SQL       string
	SQLLine   int // line of the file where SQL begins
	OnlyBatch bool
	Steps     []Step
}

// Step is one entry of steps: its one key, its value, and where it stands.
type Step struct {
	Kind  string
	Line  int
	Value any            // as YAML gives it: map[string]any, []any, string, uint64, int64, float64, bool, nil
	With  map[string]any // the keys beside Kind, for steps that allow some
	Order []string       // of a map value's keys
}

// Find returns the case files at path: the file itself, or every *_test.yaml below a folder, in ascending order.
func Find(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, diag.New(diag.Usage, "%q can not be read: %s", path, reason(err))
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(p, "_test.yaml") {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", path, err)
	}
	if len(files) == 0 {
		return nil, diag.New(diag.Usage, "%q holds no *_test.yaml file", path)
	}
	sort.Strings(files)
	return files, nil
}

func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// Load reads the cases of one file, which may hold several documents.
func Load(path string) ([]Case, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, diag.New(diag.Usage, "%q can not be read: %s", path, reason(err))
	}
	return Parse(path, data)
}

// Parse reads the cases in data; path is for messages.
func Parse(path string, data []byte) ([]Case, error) {
	text := &diag.Text{Name: path, Body: string(data)}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, diag.New(diag.Usage, "%s is not YAML: %s", path, strings.TrimSpace(err.Error()))
	}
	var cases []Case
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		c, err := parseCase(text, doc.Body)
		if err != nil {
			return nil, err
		}
		c.Path = path
		cases = append(cases, c)
	}
	if len(cases) == 0 {
		return nil, diag.New(diag.Usage, "%s holds no case", path)
	}
	return cases, nil
}

func parseCase(text *diag.Text, body ast.Node) (Case, error) {
	var c Case
	for _, kv := range entries(body) {
		key := kv.Key.String()
		switch key {
		case "name":
			c.Name = fmt.Sprint(value(kv.Value))
		case "sql":
			c.SQL, c.SQLLine = fmt.Sprint(value(kv.Value)), kv.Key.GetToken().Position.Line+1
		case "only_batch":
			only, ok := value(kv.Value).(bool)
			if !ok {
				return c, badCase(text, kv.Value, `"only_batch" must be true or false`)
			}
			c.OnlyBatch = only
		case "from", "note":
		case "steps":
			list, ok := kv.Value.(*ast.SequenceNode)
			if !ok {
				return c, badCase(text, kv.Value, `"steps" must be a list`)
			}
			for _, node := range list.Values {
				s, err := parseStep(text, node)
				if err != nil {
					return c, err
				}
				c.Steps = append(c.Steps, s)
			}
		default:
			return c, badCase(text, kv.Key, fmt.Sprintf("unknown key %q; expected name, from, note, sql, only_batch or steps", key))
		}
	}
	if c.Name == "" || c.SQL == "" || len(c.Steps) == 0 {
		return c, badCase(text, body, "a case needs name, sql and steps")
	}
	return c, nil
}

// beside lists the keys that may stand beside a step's own.
func beside(kind string) string {
	if kind == "expect" {
		return "sink ordered"
	}
	return ""
}

func parseStep(text *diag.Text, node ast.Node) (Step, error) {
	s := Step{Line: node.GetToken().Position.Line, With: map[string]any{}}
	kvs := entries(node)
	if len(kvs) == 0 {
		return s, badCase(text, node, "a step must be a map with one key")
	}
	var at ast.Node
	for _, kv := range kvs {
		key := kv.Key.String()
		known := slices.Contains(kinds, key)
		switch {
		case known && s.Kind == "":
			at = kv.Value
			s.Kind, s.Value, s.Line = key, value(kv.Value), kv.Key.GetToken().Position.Line
			for _, inner := range entries(kv.Value) {
				if name := inner.Key.String(); slices.Contains(strings.Fields(beside(key)), name) {
					s.With[name] = value(inner.Value)
				} else {
					s.Order = append(s.Order, name)
				}
			}
		case slices.Contains(strings.Fields(beside(s.Kind)), key):
			s.With[key] = value(kv.Value)
		case known:
			return s, badCase(text, kv.Key, fmt.Sprintf("%q stands beside %q; a step has one of them", key, s.Kind))
		default:
			return s, badCase(text, kv.Key, fmt.Sprintf("unknown step %q; expected one of %s", key, strings.Join(kinds, " ")))
		}
	}
	return s, s.checkShape(text, at)
}

// entries returns the pairs of a map node, also of one with a single pair, which the parser gives by itself.
func entries(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

func value(n ast.Node) any {
	var v any
	if err := yaml.NodeToValue(n, &v); err != nil {
		return n.String()
	}
	return v
}

func badCase(text *diag.Text, node ast.Node, message string) error {
	offset := node.GetToken().Position.Offset - 1
	return diag.New(diag.Usage, "%s", message).At(text, diag.Span{Start: offset, End: offset + 1})
}
