package file

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/tidemill/tidemill/internal/vfs"
)

const globDepthMax = 32

// glob returns the files that pattern names, in no particular order. A folder stands for the files in it, **
// for any number of folders. Names that begin with "." or "_" or end in ".tmp" are not matched by a wildcard.
// It fails with fs.ErrNotExist when the part of the pattern before the first wildcard does not exist.
func glob(fsys vfs.FS, pattern string) ([]string, error) {
	parts := strings.Split(filepath.ToSlash(filepath.Clean(pattern)), "/")
	fixed := 0
	for fixed < len(parts) && !strings.ContainsAny(parts[fixed], `*?[`) {
		fixed++
	}
	root := strings.Join(parts[:fixed], "/")
	if root == "" {
		root = "."
		if filepath.IsAbs(pattern) {
			root = "/"
		}
	}
	info, err := fsys.Stat(root)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller names the option
	}
	if fixed == len(parts) {
		if !info.IsDir() {
			return []string{root}, nil
		}
		parts = append(parts, "*")
	}
	g := globber{fsys: fsys, found: map[string]bool{}}
	if err := g.walk(root, parts[fixed:], 0); err != nil {
		return nil, err
	}
	return g.list, nil
}

type globber struct {
	fsys  vfs.FS
	found map[string]bool
	list  []string
}

// walk adds what parts name below dir.
func (g *globber) walk(dir string, parts []string, depth int) error {
	if depth > globDepthMax {
		return nil
	}
	if parts[0] == "**" && len(parts) > 1 {
		if err := g.walk(dir, parts[1:], depth+1); err != nil {
			return err
		}
	}
	names, err := g.fsys.List(dir)
	if err != nil {
		return ignoreGone(err)
	}
	for _, name := range names {
		if err := g.visit(filepath.Join(dir, name), name, parts, depth); err != nil {
			return err
		}
	}
	return nil
}

func (g *globber) visit(path, name string, parts []string, depth int) error {
	if hidden(name) && strings.ContainsAny(parts[0], `*?[`) {
		return nil
	}
	if parts[0] == "**" {
		info, err := g.fsys.Stat(path)
		if err != nil {
			return ignoreGone(err)
		}
		if info.IsDir() {
			return g.walk(path, parts, depth+1)
		}
		if len(parts) == 1 {
			g.add(path)
		}
		return nil
	}
	if ok, err := filepath.Match(parts[0], name); err != nil || !ok {
		return err //nolint:wrapcheck // the caller names the option
	}
	info, err := g.fsys.Stat(path)
	if err != nil {
		return ignoreGone(err)
	}
	switch {
	case len(parts) > 1 && info.IsDir():
		return g.walk(path, parts[1:], depth+1)
	case len(parts) == 1 && !info.IsDir():
		g.add(path)
	}
	return nil
}

func (g *globber) add(path string) {
	if !g.found[path] {
		g.found[path] = true
		g.list = append(g.list, path)
	}
}

func hidden(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || strings.HasSuffix(name, ".tmp")
}

// ignoreGone takes a file that vanished between two looks as one that was never there.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
