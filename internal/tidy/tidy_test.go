// Package tidy checks the rules of the house that no linter knows: which package may import which, how long files
// and functions may be, that every package says what it is, and that error codes are all used. It works offline.
package tidy_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
)

const module = "github.com/tidemill/tidemill/"

// floors says on which floor a package stands; the longest prefix counts. Imports go down only.
var floors = map[string]int{
	"internal/vfs": 0, "internal/clock": 0, "internal/diag": 0, "internal/invariant": 0, "internal/spill": 0, "internal/zstdpages": 0, "internal/compression": 0,
	"stream": 1, "trigger": 1, "internal/duck": 1, "internal/rowenc": 1, "internal/parquetenc": 1, "internal/keyed": 1, "internal/natsd": 1, "internal/pool": 1, "internal/flatparquet": 1, "internal/natsconn": 1,
	"wal": 2, "state": 2, "planner": 2, "sources": 2, "sinks": 2, "internal/decode": 2,
	"checkpoint": 3, "sqlfront": 3,
	"engine": 4, "internal/httpapi": 5, "benchmarks": 5, // cmd/tidemill starts the benchmarks
	"cmd": 6, "examples": 6,
}

// doors says who alone may import a vendor's package.
var doors = map[string][]string{
	"github.com/marcboeker/go-duckdb":          {"internal/duck"},
	"github.com/pierrec/lz4/v4":                {"internal/compression"},
	"github.com/robfig/cron/v3":                {"trigger"},
	"github.com/nats-io/nats-server/v2/server": {"internal/natsd", "internal/testkit"},
	"github.com/nats-io/nats.go": {"internal/natsconn", "internal/natsd", "internal/testkit", "sources/jetstream",
		"sinks/jetstream", "cmd/tidemill", "benchmarks"},
}

type pkg struct {
	ImportPath string
	Dir        string
	Doc        string
	Imports    []string
	GoFiles    []string
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	require.NoError(t, err)
	return dir
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Doc,Imports,GoFiles", "./...")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	require.NoError(t, err)
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		all = append(all, p)
	}
}

func floorOf(path string) (floor int, top string) {
	floor = -1
	for prefix, f := range floors {
		if (path == prefix || strings.HasPrefix(path, prefix+"/")) && len(prefix) > len(top) {
			floor, top = f, prefix
		}
	}
	return floor, top
}

func testOnly(path string) bool {
	return strings.HasSuffix(path, "test") || strings.HasPrefix(path, "internal/testkit") || path == "internal/tidy" ||
		path == "internal/e2e"
}

func TestImportsGoDownOnly(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		if testOnly(path) {
			continue
		}
		floor, top := floorOf(path)
		require.GreaterOrEqual(t, floor, 0, "%s stands on no floor; add it to the table", path)
		for _, imported := range p.Imports {
			if owners, guarded := doors[imported]; guarded {
				require.Contains(t, owners, path, "%s imports %s", path, imported)
			}
			lower, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			below, otherTop := floorOf(lower)
			require.True(t, below < floor || top == otherTop, "%s (floor %d) imports %s (floor %d)", path, floor, lower, below)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 {
			require.NotEmpty(t, p.Doc, "%s has no package comment", p.ImportPath)
		}
	}
}

func TestFilesAndFunctionsCanBeHeldInTheHead(t *testing.T) {
	t.Parallel()
	const fileLines, funcLines = 600, 70
	eachGoFile(t, func(path string, fset *token.FileSet, file *ast.File) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		require.LessOrEqual(t, fset.Position(file.End()).Line, fileLines, "%s is too long", path)
		for _, d := range file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || strings.Contains(fn.Doc.Text(), "nolint:funlen") {
				continue
			}
			lines := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1
			require.LessOrEqual(t, lines, funcLines, "%s: %s is too long", path, fn.Name.Name)
			require.NotEqual(t, "init", fn.Name.Name, "%s has an init function", path)
		}
	})
}

func TestErrorCodesAreSortedAndUsed(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	eachGoFile(t, func(path string, _ *token.FileSet, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "diag" && !strings.HasSuffix(path, "_test.go") {
					used[sel.Sel.Name] = true
				}
			}
			return true
		})
	})
	names := constants(t, filepath.Join(root(t), "internal/diag/codes.go"))
	last := diag.Code("")
	for _, d := range diag.Codes() {
		require.Less(t, last, d.Code, "codes are in ascending order")
		require.NotEmpty(t, d.Meaning)
		require.True(t, used[names[string(d.Code)]], "code %s is never used", d.Code)
		last = d.Code
	}
	require.Len(t, diag.Codes(), len(names))
}

// constants returns the Go names of the Code constants by their values.
func constants(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	require.NoError(t, err)
	names := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Code" {
			names[strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`)] = spec.Names[0].Name
		}
		return true
	})
	return names
}

func TestNothingThatDoesNotBelong(t *testing.T) {
	t.Parallel()
	words := []string{"FIX" + "ME", "XX" + "X:", "TO" + "DO:", "not impl" + "emented"}
	err := filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == ".venv") { // git ignores the last two
				return filepath.SkipDir
			}
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		require.LessOrEqual(t, info.Size(), int64(300_000), "%s is too large for the repository", path)
		if ext := filepath.Ext(path); ext != ".go" && ext != ".md" && ext != ".sql" {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, w := range words {
			require.NotContains(t, string(data), w, path)
		}
		return nil
	})
	require.NoError(t, err)
}

func eachGoFile(t *testing.T, use func(path string, fset *token.FileSet, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		use(path, fset, file)
		return nil
	})
	require.NoError(t, err)
}
